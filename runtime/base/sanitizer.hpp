// Which sanitizer this build runs under.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define SMARM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SMARM_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SMARM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SMARM_TSAN 1
#endif
#endif

#ifndef SMARM_ASAN
#define SMARM_ASAN 0
#endif
#ifndef SMARM_TSAN
#define SMARM_TSAN 0
#endif

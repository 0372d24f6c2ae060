#include "runtime/actor/exit_record.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <new>
#include <stdexcept>
#include <typeinfo>

namespace smarm {

namespace {

std::string demangle(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 && text ? text : name;
  std::free(text);
  return result;
}

void describe_current(smarm_exit& record) {
  if (const std::type_info* type = abi::__cxa_current_exception_type())
    record.type = demangle(type->name());
  try {
    throw;
  } catch (const std::exception& e) {
    record.message = e.what();
  } catch (const std::string& s) {
    record.message = s;
  } catch (const char* s) {
    record.message = s ? s : "";
  } catch (int i) {
    record.message = "int " + std::to_string(i);
  } catch (...) {
    record.message = "exception of type " + record.type;
  }
}

}  // namespace

smarm_exit* make_panic_record(smarm_pid pid) noexcept {
  auto* record = new (std::nothrow) smarm_exit;
  if (!record) return nullptr;
  record->kind = SMARM_EXIT_PANIC;
  record->pid = pid;
  record->exception = std::current_exception();
  try {
    describe_current(*record);
  } catch (...) {  // what() threw, or memory is out
    try {
      record->message = "exception whose description failed";
    } catch (...) {
    }
  }
  return record;
}

smarm_exit* make_killed_record(smarm_pid pid, const char* reason) noexcept {
  auto* record = new (std::nothrow) smarm_exit;
  if (!record) return nullptr;
  record->kind = SMARM_EXIT_KILLED;
  record->pid = pid;
  try {
    record->message = reason;
  } catch (...) {
  }
  return record;
}

smarm_exit* make_failed_record(smarm_pid pid, const char* reason) noexcept {
  smarm_exit* record = make_killed_record(pid, reason);
  if (record) {
    record->kind = SMARM_EXIT_PANIC;
    try {
      record->exception = std::make_exception_ptr(std::runtime_error(reason));
      record->type = "std::runtime_error";
    } catch (...) {
    }
  }
  return record;
}

}  // namespace smarm

using smarm_exit_ref = const smarm_exit*;

extern "C" {

int smarm_exit_kind(smarm_exit_ref e) { return e ? e->kind : SMARM_EXIT_NORMAL; }
smarm_pid smarm_exit_pid(smarm_exit_ref e) { return e ? e->pid : smarm_pid{}; }
const char* smarm_exit_message(smarm_exit_ref e) {
  return e ? e->message.c_str() : "the caller is being killed";
}
const char* smarm_exit_type(smarm_exit_ref e) { return e ? e->type.c_str() : ""; }

size_t smarm_exit_backtrace(smarm_exit_ref e, void** out, size_t capacity) {
  if (!e) return 0;
  const std::size_t n = e->frame_count < capacity ? e->frame_count : capacity;
  for (std::size_t i = 0; i < n; ++i) out[i] = e->frames[i];
  return n;
}

void smarm_exit_exception(smarm_exit_ref e, void* std_exception_ptr) {
  if (e) *static_cast<std::exception_ptr*>(std_exception_ptr) = e->exception;
}

smarm_exit* smarm_exit_retain(smarm_exit* e) {
  e->references.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller holds one already
  return e;
}

void smarm_exit_release(smarm_exit* e) {
  if (e->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete e;
}

}  // extern "C"

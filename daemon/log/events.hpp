// The names of everything smarmd logs. They are part of the daemon's product: people and programs
// search for them, so a name is never changed, only added. Fields that belong to several of them:
// plugin, file, actor, pid, pid_old, pid_new, reason, backtrace, restarts, delay_ms, generation.
#pragma once

#include <string_view>

namespace smarmd::events {

inline constexpr std::string_view kDaemonStarting = "daemon.starting";
inline constexpr std::string_view kDaemonReady = "daemon.ready";
inline constexpr std::string_view kDaemonStopping = "daemon.stopping";
inline constexpr std::string_view kDaemonStopped = "daemon.stopped";
inline constexpr std::string_view kDaemonStuck =
    "daemon.stuck";  // what never came within the shutdown budget

inline constexpr std::string_view kPluginFound = "plugin.found";
inline constexpr std::string_view kPluginStarted = "plugin.started";
inline constexpr std::string_view kPluginRefused = "plugin.refused";
inline constexpr std::string_view kPluginDisabled = "plugin.disabled";
inline constexpr std::string_view kPluginPanicked = "plugin.panicked";
inline constexpr std::string_view kPluginEnded = "plugin.ended";
inline constexpr std::string_view kPluginRestarted = "plugin.restarted";
inline constexpr std::string_view kPluginQuarantined = "plugin.quarantined";
inline constexpr std::string_view kPluginRevived = "plugin.revived";
inline constexpr std::string_view kPluginStopping = "plugin.stopping";
inline constexpr std::string_view kPluginStopped = "plugin.stopped";
inline constexpr std::string_view kPluginReplaced = "plugin.replaced";
inline constexpr std::string_view kPluginRolledBack = "plugin.rolled_back";
inline constexpr std::string_view kPluginBlocked =
    "plugin.blocked";  // an actor holds its thread in a system call
inline constexpr std::string_view kActorPanicked =
    "plugin.actor_panicked";  // another than the plugin's root actor
inline constexpr std::string_view kPluginRemoved = "plugin.removed";
inline constexpr std::string_view kPluginResident =
    "plugin.resident";  // an image that could not be unmapped
inline constexpr std::string_view kPluginContained =
    "plugin.contained";  // what it did to the process was refused, put back or ended
inline constexpr std::string_view kPluginLog = "plugin.log";  // a line that a plugin wrote

inline constexpr std::string_view kConfigReloaded = "config.reloaded";
inline constexpr std::string_view kConfigRefused = "config.refused";
inline constexpr std::string_view kConfigNeedsRestart = "config.needs_restart";

inline constexpr std::string_view kIoFallback =
    "runtime.io_fallback";  // epoll was taken in place of the configured backend
inline constexpr std::string_view kAsyncPreemptOff =
    "runtime.async_preempt_off";  // this machine cannot

inline constexpr std::string_view kNoExtraWorker =
    "runtime.no_extra_worker";  // so many threads are blocked that no more are made
inline constexpr std::string_view kBlockedUnseen =
    "runtime.blocked_unseen";  // the kernel does not tell which threads are blocked
inline constexpr std::string_view kMailboxGrew = "mailbox.grew";
inline constexpr std::string_view kMailboxFull = "mailbox.full";  // its limit refused a message

inline constexpr std::string_view kListenerRefused =
    "listener.refused";  // a socket of the service manager that no plugin can get

inline constexpr std::string_view kWatchFailed = "watch.failed";
inline constexpr std::string_view kDirectoryMissing = "directory.missing";

inline constexpr std::string_view kWorkerStuck = "worker.stuck";

inline constexpr std::string_view kControlListening = "control.listening";
inline constexpr std::string_view kControlFailed = "control.failed";
inline constexpr std::string_view kControlCommand =
    "control.command";  // a command that changes something, and who sent it
inline constexpr std::string_view kMetricsListening = "metrics.listening";
inline constexpr std::string_view kMetricsFailed = "metrics.failed";

inline constexpr std::string_view kLogLost = "log.lost";
inline constexpr std::string_view kLogFallback = "log.fallback";

}  // namespace smarmd::events

// The supervisor actor's side towards the world: images, actors, the runtime's settings.
#include "daemon/log/events.hpp"
#include "daemon/supervision/async_preempt.hpp"
#include "daemon/supervision/leftovers.hpp"
#include "daemon/supervision/reload.hpp"
#include "daemon/supervision/supervisor_actor.hpp"
#include "daemon/supervision/symbolise.hpp"
#include "daemon/supervision/tsc.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace smarmd {

namespace {

// On a blocking thread: check, copy, probe, open.
LoadResult load_image(plugin::ImageStore& store, const LoadOrder& order) {
  LoadResult result{.plugin = order.plugin, .ticket = order.ticket, .image = ImagePtr{}};
  try {
    auto imported = store.admit(order.file, order.running);
    if (!imported) {
      result.image = std::unexpected(imported.error());
    } else if (*imported) {
      auto code = plugin::Image::open((*imported)->path);
      if (code) {
        result.image = std::make_shared<LoadedImage>(
            LoadedImage{.file = std::move(**imported), .code = std::move(*code), .pinned = false});
      } else {
        store.remove(**imported);
        result.image = std::unexpected(code.error());
      }
    }
  } catch (const std::exception& e) {
    result.image = std::unexpected(std::string("cannot be loaded: ") + e.what());
  }
  return result;
}

// On a blocking thread: runs the plugin's static destructors. Says why the image stays, when it
// does.
std::string unload_image(plugin::ImageStore& store, LoadedImage& image) {
  if (!image.code) return {};
  if (auto reason = reason_to_stay_mapped(image.file.path)) return *reason;
  if (plugin::Image::unload(std::move(image.code)) == plugin::Image::Unloaded::resident) {
    return "the loader keeps it; build it with the flags of `./dev plugin-flags`";
  }
  store.remove(image.file);
  return {};
}

// The root actor of a plugin.
struct Root {
  std::shared_ptr<PluginContext> life;
  plugin::Image::Main main;

  static void entry(void* closure, int op) {
    const std::unique_ptr<Root> root(static_cast<Root*>(closure));
    if (op != SMARM_RUN) return;
    smarm::plugin::Context context(&PluginContext::host(), root->life.get());
    root->main(context);
  }
};

// A worker that has just counted an actor as ended still destroys its exception, whose code lies in
// the image.
constexpr Milliseconds kUnloadDelay{1000};

std::string status_text(int status) {
  if (status == SMARM_E_LIMIT) return smarm_last_error();
  return "status " + std::to_string(status);
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : ", ") + line;
  return text;
}

}  // namespace

SteadyTime SupervisorActor::now() { return std::chrono::steady_clock::now(); }

std::int64_t SupervisorActor::unix_ms() {
  return std::chrono::duration_cast<Milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double SupervisorActor::random() {
  return std::uniform_real_distribution<double>(0.0, 1.0)(random_);
}

void SupervisorActor::load(LoadOrder order) {
  loads_.push_back(std::move(order));
  pump_loads();
}

void SupervisorActor::pump_loads() {
  while (loading_ < kLoadsAtOnce && !loads_.empty()) {
    LoadOrder order = std::move(loads_.front());
    loads_.pop_front();
    ++loading_;
    const bool started = work("load", [order, &store = parts_.store]() -> Command {
      return command::Loaded{load_image(store, order)};
    });
    // The answer goes through the channel in this case too: load() must not answer while it is
    // called.
    if (!started)
      (void)self_.send(
          command::Loaded{{order.plugin, order.ticket,
                           std::unexpected(std::string("no actor can be started to load it"))}});
  }
}

void SupervisorActor::unload(std::string plugin, ImagePtr image) {
  work(
      "unload",
      [plugin = std::move(plugin), image = std::move(image), &store = parts_.store]() -> Command {
        return command::Unloaded{plugin, image, unload_image(store, *image)};
      },
      kUnloadDelay);
}

// Actors of no plugin are the daemon's own.
void SupervisorActor::on(command::Blocked c) {
  if (c.actor.kind != SMARM_BLOCKED_ACTOR) {
    const bool unseen = c.actor.kind == SMARM_BLOCKED_UNSEEN;
    return log(Level::warn, unseen ? events::kBlockedUnseen : events::kNoExtraWorker,
               unseen
                   ? "/proc/self/task cannot be read: actors that block their threads are not found"
                   : "no more extra workers: so many threads are blocked that others wait",
               {});
  }
  const std::string plugin = plugin_of(c.actor.group);
  const auto suppressed = blocked_.admit(plugin, now());
  if (!suppressed) return;
  log(Level::warn, events::kPluginBlocked, blocked_text(plugin, c.actor),
      blocked_fields(plugin, c.actor, *suppressed, in_words(c.actor.frames)));
}

// A root actor's end comes as a signal and is a step of its plugin's life.
void SupervisorActor::on(command::Panicked c) {
  if (c.actor.supervisor == smarm::self_pid()) return;
  const std::string plugin = plugin_of(c.actor.group);
  log(Level::warn, events::kActorPanicked, panicked_text(plugin, c.actor),
      panicked_fields(plugin, c.actor, in_words(c.actor.frames)));
}

std::string SupervisorActor::plugin_of(std::uint64_t group) const {
  const auto life = contexts_.find(group);
  return life == contexts_.end() ? "smarmd" : life->second->plugin();
}

std::expected<smarm::Pid, std::string> SupervisorActor::start(const RootOrder& order) {
  auto life = std::make_shared<PluginContext>(order.plugin, order.config, order.group,
                                              parts_.logger, parts_.registry, parts_.listeners);
  if (smarm_group_bind(order.group, order.account)) return std::unexpected(smarm_last_error());
  limit_mailboxes(order.account, order.mailbox_limit);
  auto root = std::make_unique<Root>(life, order.image->code->main());
  smarm_spawn_options options{};
  options.struct_size = sizeof options;
  options.flags = SMARM_SPAWN_GROUP;
  options.name = order.plugin.c_str();
  options.group = order.group;
  smarm_pid pid{};
  if (const int status = smarm_spawn(&options, &Root::entry, root.get(), nullptr, &pid))
    return std::unexpected(status_text(status));
  (void)root.release();  // the actor's now
  contexts_.emplace(order.group, std::move(life));
  return smarm::Pid(pid);
}

void SupervisorActor::ask_stop(smarm::Pid root, std::uint64_t group) {
  if (const auto life = contexts_.find(group); life != contexts_.end()) life->second->stop();
  smarm::stop(root);
}

void SupervisorActor::kill(std::uint64_t group) {
  if (const auto life = contexts_.find(group); life != contexts_.end()) life->second->stop();
  smarm_group_kill(group, smarm::ROOT_PID.raw());
}

std::size_t SupervisorActor::actors_of(std::uint64_t group) {
  return group == 0 ? 0 : smarm_group_count(group);
}

void SupervisorActor::forget(std::uint64_t group) {
  contexts_.erase(group);
  parts_.registry.prune(group);
  smarm_group_bind(group, 0);
}

void SupervisorActor::limit_mailboxes(std::uint64_t account, std::uint64_t messages) {
  if (smarm_account_limit_mailboxes(account, messages))
    log(Level::error, events::kWorkerStuck, std::string("mailbox_limit: ") + smarm_last_error(),
        {{"reason", smarm_last_error()}});
}

void SupervisorActor::close_account(std::uint64_t account) { smarm_account_close(account); }

void SupervisorActor::tune_runtime(const RuntimeConfig& before) {
  const RuntimeConfig& now = config_.runtime;
  smarm_mailbox_warn_at(now.mailbox_warn);
  if (timeslice_cycles(now) != timeslice_cycles(before) ||
      now.alloc_interval != before.alloc_interval)
    smarm_runtime_tune(nullptr, now.alloc_interval, timeslice_cycles(now));
  if (now.async_preempt_ms != before.async_preempt_ms)
    set_async_preempt(nullptr, now, parts_.logger);
}

void SupervisorActor::apply_config(const Config& next) {
  ReloadPlan plan = plan_reload(config_, next);
  const RuntimeConfig before = std::exchange(config_, plan.effective).runtime;
  tune_runtime(before);
  parts_.logger.set_level(config_.log.level);
  board_.log_level = name_of(config_.log.level);
  board_.last_reload_ms = unix_ms();
  board_.last_reload_error.clear();
  applied_ = std::move(plan.applied);
  needs_restart_ = std::move(plan.needs_restart);
  log(Level::info, events::kConfigReloaded,
      applied_.empty() ? "configuration reloaded, nothing that can change live has changed"
                       : "configuration reloaded: " + joined(applied_),
      {{"applied", joined(applied_)}});
  if (!needs_restart_.empty()) {
    log(Level::warn, events::kConfigNeedsRestart,
        "valid, but takes effect only when smarmd is restarted: " + joined(needs_restart_),
        {{"pointers", joined(needs_restart_)}});
  }
  reload_ = ReloadStage::settling;
  supervisor_.apply(config_);
  // A look at the directories belongs to a reload: without `watch` it is how new files are found.
  if (work("scan", [scan = parts_.scan]() -> Command { return scan(); })) scanned_ = false;
}

}  // namespace smarmd

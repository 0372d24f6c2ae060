// Files and images: which file is which plugin, which image a plugin runs, who may start.
#include "daemon/supervision/plugin_supervisor.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace smarmd {

using enum PluginState;

void PluginSupervisor::scanned(std::vector<FileNews> files) {
  if (shutdown_) return;
  std::set<std::filesystem::path> there;
  for (const FileNews& f : files) there.insert(f.path);
  for (const auto& [path, entry] : files_) {
    if (!there.contains(path)) files.push_back({.path = path, .gone = true});
  }
  files_changed(std::move(files));
}

void PluginSupervisor::files_changed(std::vector<FileNews> news) {
  if (shutdown_) return;
  // What is gone first: a file that was renamed is then not a duplicate of itself.
  for (const FileNews& n : news) {
    if (n.gone) gone(n.path);
  }
  drop_removed();
  for (const FileNews& n : news) {
    if (!n.gone) present(n);
  }
  advance();
}

void PluginSupervisor::gone(const std::filesystem::path& path) {
  const auto at = files_.find(path);
  if (at == files_.end()) return;
  const std::string owner = at->second.plugin;
  files_.erase(at);
  if (PluginRecord* r = find(owner); r && r->file == path)
    take_down(*r, Next::remove, "its file was removed");
}

void PluginSupervisor::present(const FileNews& news) {
  FileEntry& entry = files_[news.path];
  entry.since_ms = effects_.unix_ms();
  PluginRecord* owner = find(entry.plugin);
  if (!news.info) {
    if (owner) return image_failed(*owner, news.info.error());
    return refuse_file(news.path, entry, news.info.error());
  }
  entry.info = *news.info;
  const std::string& name = news.info->name;
  if (owner && owner->name != name) {  // the file has become another plugin
    take_down(*owner, Next::remove, "its file is now the plugin " + name);
    entry.plugin.clear();
    drop_removed();
  }
  PluginRecord* r = find(name);
  if (!r) r = &plugins_.try_emplace(name).first->second;
  const bool fresh = r->name.empty();
  if (!fresh && r->file != news.path) {
    if (r->state() != stopping || r->stop.next != Next::remove) {
      entry.duplicate = true;
      return refuse_file(news.path, entry,
                         "the name \"" + name + "\" belongs to " + r->file.native() + " (" +
                             std::string(to_string(r->state())) +
                             "); remove one of the two files or give one plugin another name");
    }
    r->stop.next = Next::reload;  // the file was renamed while its plugin still stops
  }
  adopt(news.path, entry, *r);
  if (fresh) reports_.found(*r);
  if (!r->policy.enabled) {
    if (fresh) take_down(*r, Next::disable, {});
    return;
  }
  request_load(*r);
}

void PluginSupervisor::adopt(const std::filesystem::path& path, FileEntry& entry, PluginRecord& r) {
  if (r.name.empty()) {
    r.name = entry.info->name;
    r.account = ++last_account_;
    r.since_ms = effects_.unix_ms();
  }
  r.file = path;
  entry.plugin = r.name;
  entry.problem.clear();
  entry.duplicate = false;
  if (!r.current) {
    r.info = *entry.info;
    r.policy = config_.policy_for(r.name, r.info.restart);
  }
}

void PluginSupervisor::refuse_file(const std::filesystem::path& path, FileEntry& entry,
                                   std::string reason) {
  reports_.file_refused(path, entry.info ? entry.info->name : "", reason);
  entry.problem = std::move(reason);
}

void PluginSupervisor::readopt_duplicate(const std::string& name) {
  for (const auto& [path, entry] : files_) {
    if (entry.duplicate && entry.info && entry.info->name == name) {
      return present({.path = path, .gone = false, .info = *entry.info});
    }
  }
}

// The file of the plugin is new or changed.
void PluginSupervisor::request_load(PluginRecord& r) {
  switch (r.state()) {
    case refused: enter(r, found); return;  // schedule() looks at its needs, then loads
    case found:
      if (!r.current) return;
      break;
    case disabled:
    case removed: return;
    default: break;
  }
  if (r.state() == stopping && r.stop.next == Next::reload) return;
  r.ticket = ++last_ticket_;
  effects_.load({.plugin = r.name,
                 .ticket = r.ticket,
                 .file = r.file,
                 .running = r.current ? std::optional(r.current->file.hash) : std::nullopt});
}

void PluginSupervisor::loaded(LoadResult result) {
  PluginRecord* r = find(result.plugin);
  if (!r || r->ticket != result.ticket) {  // overtaken by a newer file, a removal, the shutdown
    if (result.image && *result.image && !shutdown_)
      effects_.unload(result.plugin, std::move(*result.image));
    return;
  }
  r->ticket = 0;
  if (!result.image) {
    image_failed(*r, result.image.error());
  } else {
    r->refusal.clear();
    if (*result.image) image_ready(*r, std::move(*result.image));
  }
  advance();
}

void PluginSupervisor::image_failed(PluginRecord& r, const std::string& reason) {
  r.refusal = reason;
  r.ticket = 0;  // what is still being loaded is older than this
  if (r.state() == loading || (r.state() == found && !r.current)) {
    enter(r, refused);
    r.needs_missing = false;
  }
  reports_.refused(r, reason);
}

void PluginSupervisor::image_ready(PluginRecord& r, ImagePtr image) {
  const plugin::PrivateImage& file = image->file;
  if (file.info.name != r.name) {
    image_failed(r, "it turned into the plugin \"" + file.info.name +
                        "\" while it was read; install it again");
    return effects_.unload(r.name, std::move(image));
  }
  if (r.rejected == file.hash) {
    image_failed(r, "these bytes failed early and were rolled back; install another build");
    return effects_.unload(r.name, std::move(image));
  }
  for (const std::string& warning : file.info.warnings) reports_.file_warning(r, warning);
  switch (r.state()) {
    case loading:
    case found:
      discard(r, r.current);
      use_image(r, std::move(image));
      r.loaded_at = effects_.now();
      if (r.state() == loading) enter(r, found);
      return;
    case running:
      r.next = std::move(image);
      begin_stop(r, Next::start, "its file was replaced");
      return;
    case stopping:
      discard(r, r.next);
      r.next = std::move(image);
      if (r.stop.next != Next::disable && r.stop.next != Next::remove) r.stop.next = Next::start;
      return;
    case backing_off:
    case stopped:
    case quarantined: {
      const bool keep = r.state() == backing_off;
      r.next = std::move(image);
      install_next(r, keep);
      start(r, Cause::replaced);
      return;
    }
    default: effects_.unload(r.name, std::move(image)); return;
  }
}

// The new image takes the place of the old one, which is kept for the time of the probation. An
// image that is itself on probation is not worth keeping.
void PluginSupervisor::install_next(PluginRecord& r, bool keep_old) {
  if (keep_old && !r.on_probation()) {
    r.previous = std::move(r.current);
  } else {
    discard(r, r.current);
  }
  use_image(r, std::move(r.next));
  r.rejected.reset();
}

void PluginSupervisor::use_image(PluginRecord& r, ImagePtr image) {
  r.current = std::move(image);
  r.info = r.current->file.info;
  r.policy = config_.policy_for(r.name, r.info.restart);
  r.budget.reset();
  r.restarts = 0;
}

void PluginSupervisor::discard(PluginRecord& r, ImagePtr& image) {
  if (!image) return;
  ImagePtr gone = std::exchange(image, nullptr);
  if (!gone->pinned) return effects_.unload(r.name, std::move(gone));
  ++r.resident;
  reports_.resident(r.name, *gone, "actors of it never ended");
}

void PluginSupervisor::discard_all(PluginRecord& r) {
  discard(r, r.next);
  discard(r, r.current);
  discard(r, r.previous);
}

void PluginSupervisor::unloaded(const std::string& plugin, const LoadedImage& image,
                                std::string_view kept_because) {
  if (kept_because.empty()) return;
  if (PluginRecord* r = find(plugin)) ++r->resident;
  reports_.resident(plugin, image, kept_because);
}

NeedsView PluginSupervisor::needs_view() const {
  return {
      .state = [this](std::string_view name) -> std::optional<PluginState> {
        const PluginRecord* r = find(name);
        return r ? std::optional(r->state()) : std::nullopt;
      },
      .needs =
          [this](std::string_view name) {
            const PluginRecord* r = find(name);
            return r ? r->info.needs : std::vector<std::string>{};
          },
  };
}

// Starts what can start, by name. Each start may be what another one waits for.
void PluginSupervisor::schedule() {
  bool changed = true;
  while (changed) {
    changed = false;
    bool earlier_loading = false;
    for (auto& [name, r] : plugins_) {
      if (r.state() == found || (r.state() == refused && r.needs_missing))
        changed |= schedule_one(r, earlier_loading);
      earlier_loading |= r.state() == loading;
    }
  }
}

bool PluginSupervisor::schedule_one(PluginRecord& r, bool earlier_loading) {
  const NeedsAnswer needs = check_needs(r.name, r.info.needs, needs_view());
  r.waits_for_need = needs.kind == NeedsAnswer::Kind::wait;
  if (needs.kind == NeedsAnswer::Kind::refuse) {
    if (r.state() == refused && r.refusal == needs.reason) return false;
    r.needs_missing = true;
    r.refusal = needs.reason;
    if (r.state() != refused) enter(r, refused);
    reports_.refused(r, needs.reason);
    return true;
  }
  const bool back = r.state() == refused;
  if (back) {
    r.needs_missing = false;
    r.refusal.clear();
    enter(r, found);
  }
  if (r.waits_for_need) return back;
  if (!r.current) {
    enter(r, loading);
    request_load(r);
    return true;
  }
  if (earlier_loading && effects_.now() < r.loaded_at + kOrderPatience) return back;
  start(r, Cause::first);
  return true;
}

}  // namespace smarmd

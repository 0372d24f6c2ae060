#include "daemon/plugin/image.hpp"

#include "daemon/plugin/shared_object.hpp"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <utility>

namespace smarmd::plugin {
namespace {

struct Search {
  ElfW(Addr) base;
  const ElfW(Dyn) * dynamic;
  std::vector<Image::TextRange> found;
};

int collect_text(dl_phdr_info* info, std::size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  const auto end = info->dlpi_phdr + info->dlpi_phnum;
  const bool same =
      info->dlpi_addr == search.base &&
      std::any_of(info->dlpi_phdr, end, [&](const ElfW(Phdr) & p) {
        return p.p_type == PT_DYNAMIC &&
               info->dlpi_addr + p.p_vaddr == reinterpret_cast<ElfW(Addr)>(search.dynamic);
      });
  if (!same) return 0;
  for (auto p = info->dlpi_phdr; p != end; ++p) {
    if (p->p_type == PT_LOAD && (p->p_flags & PF_X))
      search.found.push_back(
          {info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz});
  }
  return 1;
}

std::vector<Image::TextRange> text_ranges(void* handle) {
  link_map* map = nullptr;
  if (::dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || !map) return {};
  Search search{map->l_addr, map->l_ld, {}};
  ::dl_iterate_phdr(collect_text, &search);
  return std::move(search.found);
}

}  // namespace

Image::Image(void* handle, Main main, std::filesystem::path path)
    : handle_(handle), main_(main), path_(std::move(path)), text_(text_ranges(handle)) {}

// The handle is left open on purpose (invariant 1).
Image::~Image() = default;

std::expected<std::unique_ptr<Image>, std::string> Image::open(const std::filesystem::path& file) {
  auto handle = load_shared_object(file);
  if (!handle) return std::unexpected(std::move(handle.error()));
  const auto found = find_export(*handle);
  if (!found) {
    (void)unload_shared_object(*handle, file);  // nothing of it has been handed out
    return std::unexpected(found.error());
  }
  return std::unique_ptr<Image>(new Image(*handle, (*found)->main, file));
}

bool Image::contains(std::uintptr_t pc) const {
  return std::any_of(text_.begin(), text_.end(),
                     [pc](const TextRange& r) { return pc >= r.begin && pc < r.end; });
}

Image::Unloaded Image::unload(std::unique_ptr<Image> image) {
  return unload_shared_object(image->handle_, image->path_) ? Unloaded::unmapped
                                                            : Unloaded::resident;
}

}  // namespace smarmd::plugin

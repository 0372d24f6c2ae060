#include "daemon/config/document.hpp"

#include "daemon/plugin/unique_fd.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

namespace smarmd::configuration {

namespace {

constexpr std::size_t kPlacedDepth = 4;  // /plugins/overrides/NAME/config: no known key lies deeper

// Feeds the parser and shows how far it has read: nlohmann's events carry no position. A token's
// event comes right after its last character was read, but for numbers, which take one character
// more.
class Reader {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Reader(const char* at, const char** seen) : at_(at), seen_(seen) {}
  reference operator*() const { return *at_; }
  Reader& operator++() {
    *seen_ = ++at_;
    return *this;
  }
  Reader operator++(int) {
    Reader old = *this;
    ++*this;
    return old;
  }
  bool operator==(const Reader& other) const { return at_ == other.at_; }
  bool operator!=(const Reader& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** seen_;
};

// Offsets to line and column; asked in rising order, so that the whole text is walked once.
class LineCounter {
 public:
  explicit LineCounter(std::string_view text) : text_(text) {}

  Place at(std::size_t offset) {
    offset = std::min(offset, text_.size());
    if (offset < offset_) offset_ = 0, line_ = 1, line_start_ = 0;
    for (; offset_ < offset; ++offset_) {
      if (text_[offset_] == '\n') ++line_, line_start_ = offset_ + 1;
    }
    return {line_, offset - line_start_ + 1};
  }

 private:
  std::string_view text_;
  std::size_t offset_ = 0, line_ = 1, line_start_ = 0;
};

// What most likely happened, by what the parser stumbled over.
std::string syntax_hint(std::string_view text, std::string_view what, std::size_t offset) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  if (std::all_of(text.begin(), text.end(), blank))
    return "the file is empty: write {} to take every default";
  if (offset >= text.size()) return "the text ends too early: a closing } or ] or \" is missing";
  const auto has = [&](std::string_view part) { return what.find(part) != what.npos; };
  const char c = text[offset];
  if (c == '/' || c == '#') return "JSON has no comments: remove it";
  if (c == '\'') return "JSON takes double quotes only";
  if ((c == '}' && has("object key")) || (c == ']' && has("parsing value")))
    return "remove the comma before it, or write what is missing";
  if (has("; expected '}'") || has("; expected ']'")) return "a comma is missing before it";
  if (has("; expected ':'")) return "a colon is missing before it";
  if (has("; expected end of input")) return "a config is one object: remove what follows it";
  return {};
}

// Builds the value, as nlohmann's own builder does, and keeps what that one drops: places and
// duplicate keys.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(Document& document, std::string_view text, const char** seen,
          std::vector<ConfigError>& errors)
      : document_(document), text_(text), seen_(seen), errors_(errors), lines_(text) {}

  bool null() override { return put(Json(nullptr)); }
  bool boolean(bool v) override { return put(Json(v)); }
  bool number_integer(number_integer_t v) override { return put(Json(v)); }
  bool number_unsigned(number_unsigned_t v) override { return put(Json(v)); }
  bool number_float(number_float_t v, const string_t&) override { return put(Json(v)); }
  bool string(string_t& v) override { return put(Json(std::move(v))); }
  bool binary(binary_t&) override { return false; }  // not in JSON text
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    key_ = std::move(name);
    key_place_ = token_place();
    if (!level.seen.insert(key_).second) {
      errors_.push_back({.file = document_.file,
                         .pointer = level.pointer + "/" + escape_token(key_),
                         .message = "the key stands twice in one object",
                         .hint = "keep one of them",
                         .line = key_place_.line,
                         .column = key_place_.column});
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& ex) override {
    const std::size_t offset =
        position == 0 ? 0 : position - 1;  // the parser counts the character it stopped at
    const Place place = lines_.at(offset);
    std::string_view what =
        ex.what();  // "[json.exception...] parse error at line 1, column 2: syntax error ..."
    if (const auto at = what.find("] "); at != what.npos) what.remove_prefix(at + 2);
    if (what.starts_with("parse error at")) {
      if (const auto at = what.find(": "); at != what.npos) what.remove_prefix(at + 2);
    }
    error(place, std::string(what), syntax_hint(text_, what, offset));
    return false;
  }

 private:
  struct Level {
    Json* value;
    std::string pointer;
    std::set<std::string, std::less<>> seen;  // of an object
  };

  void error(Place place, std::string message, std::string hint) {
    errors_.push_back({.file = document_.file,
                       .pointer = "",
                       .message = std::move(message),
                       .hint = std::move(hint),
                       .line = place.line,
                       .column = place.column});
  }

  // Where the token that was just read begins: behind what the event before it had read, blanks and
  // separators.
  Place token_place() {
    static constexpr std::string_view kBetween = " \t\r\n,:\xef\xbb\xbf";
    const std::size_t begin =
        text_.find_first_not_of(kBetween, static_cast<std::size_t>(event_end_ - text_.data()));
    event_end_ = *seen_;
    return lines_.at(begin);
  }

  // Puts a value under the open container and returns where it now lives.
  Json* attach(Json&& value) {
    const Place place = token_place();
    if (levels_.empty()) {
      document_.places[""] = place;
      document_.root = std::move(value);
      return &document_.root;
    }
    Level& level = levels_.back();
    const bool in_array = level.value->is_array();
    pointer_ =
        level.pointer + "/" + (in_array ? std::to_string(level.value->size()) : escape_token(key_));
    if (levels_.size() <= kPlacedDepth) document_.places[pointer_] = in_array ? place : key_place_;
    if (in_array) return &level.value->emplace_back(std::move(value));
    Json& member = (*level.value)[key_];
    member = std::move(value);
    return &member;
  }

  bool put(Json&& value) {
    attach(std::move(value));
    return true;
  }

  bool open(Json&& container) {
    if (levels_.size() == kMaxConfigDepth) {
      error(token_place(), "nested deeper than " + std::to_string(kMaxConfigDepth) + " levels",
            "flatten it");
      return false;
    }
    Json* value = attach(std::move(container));
    levels_.push_back({value, levels_.empty() ? std::string() : pointer_, {}});
    return true;
  }

  bool close() {
    levels_.pop_back();
    event_end_ = *seen_;
    return true;
  }

  Document& document_;
  std::string_view text_;
  const char** seen_;
  std::vector<ConfigError>& errors_;
  LineCounter lines_;
  std::vector<Level> levels_;
  std::string key_, pointer_;
  Place key_place_;
  const char* event_end_ = text_.data();
};

// errno as text with what helps against it.
ConfigError file_error(const std::string& file, int error) {
  ConfigError e{.file = file,
                .pointer = "",
                .message = std::string("cannot read the file: ") + std::strerror(error),
                .hint = {}};
  if (error == EACCES) e.hint = "make it readable for the user that smarmd runs as";
  return e;
}

std::optional<std::string> read_text(const std::string& file, std::vector<ConfigError>& errors) {
  const auto fail = [&](ConfigError e) {
    errors.push_back(std::move(e));
    return std::nullopt;
  };
  const plugin::UniqueFd fd(
      ::open(file.c_str(),
             O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // O_NONBLOCK: a FIFO must not hold us here
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) return fail(file_error(file, errno));
  if (!S_ISREG(info.st_mode)) {
    return fail({.file = file,
                 .pointer = "",
                 .message = "not a regular file",
                 .hint = "name the JSON file itself"});
  }
  std::string text(kMaxConfigBytes + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = ::read(fd.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(file_error(file, errno));
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size > kMaxConfigBytes) {
    return fail({.file = file,
                 .pointer = "",
                 .message = "larger than " + std::to_string(kMaxConfigBytes) + " bytes",
                 .hint = "is this the config? Large data belongs in files of the plugin's own"});
  }
  text.resize(size);
  return text;
}

}  // namespace

std::string escape_token(std::string_view token) {
  std::string out;
  for (const char c : token) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

ConfigError Document::error_at(std::string pointer, std::string message, std::string hint) const {
  const auto found = places.find(pointer);
  const Place place = found == places.end() ? Place{} : found->second;
  return {.file = file,
          .pointer = std::move(pointer),
          .message = std::move(message),
          .hint = std::move(hint),
          .line = place.line,
          .column = place.column};
}

std::optional<Document> parse_document(std::string file, std::string_view text,
                                       std::vector<ConfigError>& errors) {
  Document document{.file = std::move(file), .root = nullptr, .places = {}};
  const char* seen = std::to_address(text.begin());
  Builder builder(document, text, &seen, errors);
  const Reader begin(seen, &seen), end(std::to_address(text.end()), &seen);
  if (!Json::sax_parse(begin, end, &builder)) return std::nullopt;
  return document;
}

std::optional<Document> read_document(const std::filesystem::path& path,
                                      std::vector<ConfigError>& errors) {
  const std::optional<std::string> text = read_text(path.string(), errors);
  if (!text) return std::nullopt;
  return parse_document(path.string(), *text, errors);
}

}  // namespace smarmd::configuration

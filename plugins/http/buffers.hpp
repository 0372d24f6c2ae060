// A connection's two buffers: small ones in the object itself, which lies on the actor's stack, so
// that a connection that waits holds one page of it; large ones on the heap, while there is more.
#pragma once

#include <smarm/io.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace http {

// With the frames around them and the runtime's offsets of stacks these fit into one page.
inline constexpr std::size_t kSmallInput = 1024;
inline constexpr std::size_t kSmallOutput = 512;
inline constexpr std::size_t kLarge = std::size_t{16} * 1024;

// The bytes that came in and are not used yet.
class Input {
 public:
  // `large`: the most that will be asked for; at least kSmallInput.
  explicit Input(std::size_t large) : large_size_(large) {}

  std::string_view bytes() const { return {data_ + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  void consume(std::size_t n) { begin_ += n; }

  // Where more bytes may come. make_room() sees to it that this is not empty, and says whether the
  // bytes have been moved.
  std::span<char> room() { return {data_ + end_, size_ - end_}; }
  void added(std::size_t n) { end_ += n; }
  bool make_room() {
    if (empty()) {
      clear();
      return false;
    }
    if (begin_ == 0 && end_ < size_) return false;
    if (large_ || end_ < size_) {
      std::memmove(data_, data_ + begin_, end_ - begin_);
    } else {
      large_ = std::make_unique_for_overwrite<char[]>(large_size_);
      std::memcpy(large_.get(), data_ + begin_, end_ - begin_);
      data_ = large_.get();
      size_ = large_size_;
    }
    end_ -= begin_;
    begin_ = 0;
    return true;
  }
  void clear() {
    large_.reset();
    data_ = small_.data();
    size_ = small_.size();
    begin_ = end_ = 0;
  }

 private:
  const std::size_t large_size_;
  std::unique_ptr<char[]> large_;
  char* data_ = small_.data();
  std::size_t size_ = kSmallInput, begin_ = 0, end_ = 0;
  std::array<char, kSmallInput> small_;
};

// Responses on their way out, gathered until somebody has to wait. After a failure (the peer is
// gone, or takes nothing for too long) it swallows what comes, and flush() says so.
class Output {
 public:
  Output(smarm::TcpStream& stream, smarm::Duration patience)
      : stream_(stream), patience_(patience) {}

  void put(std::string_view text) {
    if (text.size() > size_ - used_) [[unlikely]]
      make_room(text.size());
    if (text.size() > size_) [[unlikely]]
      return write(text);
    std::memcpy(data_ + used_, text.data(), text.size());
    used_ += text.size();
  }
  // Parks. Gives the large buffer back.
  bool flush() {
    if (used_ > 0) write({data_, used_});
    large_.reset();
    data_ = small_.data();
    size_ = small_.size();
    used_ = 0;
    return !failed_;
  }

 private:
  void make_room(std::size_t wanted) {
    if (large_ || used_ + wanted > kLarge) {
      flush();
      return;
    }
    large_ = std::make_unique_for_overwrite<char[]>(kLarge);
    std::memcpy(large_.get(), data_, used_);
    data_ = large_.get();
    size_ = kLarge;
  }
  void write(std::string_view text) {
    while (!text.empty() && !failed_) {
      if (const auto n = stream_.write(text, patience_))
        text.remove_prefix(*n);
      else
        failed_ = true;
    }
  }

  smarm::TcpStream& stream_;
  smarm::Duration patience_;
  std::unique_ptr<char[]> large_;
  char* data_ = small_.data();
  std::size_t size_ = kSmallOutput, used_ = 0;
  bool failed_ = false;
  std::array<char, kSmallOutput> small_;
};

}  // namespace http

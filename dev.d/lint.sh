# ./dev lint: everything that can be said about the tree without running it. Sourced by dev.
# shellcheck shell=bash disable=SC2154  # root, build, jobs: set by dev

# clang-tidy has to read <expected>, which it can from version 19 on; the formatter is pinned with it, so that all get the same result.
lint_packages=(clang-tidy-19 clang-format-19 shellcheck systemd)
lint_folders=(runtime daemon plugins tests)
# The most that `systemd-analyze security` may say, in tenths.
security_threshold=9

cpp_files() { (cd "$root" && find "${lint_folders[@]}" \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' \) | sort); }

# The C++ files that differ from the upstream branch, or from HEAD when there is none.
changed_files() {
  local base
  base=$(git -C "$root" merge-base HEAD '@{upstream}' 2>/dev/null || git -C "$root" rev-parse HEAD 2>/dev/null) || { cpp_files; return; }
  { git -C "$root" diff --name-only --diff-filter=d "$base"; git -C "$root" ls-files --others --exclude-standard; } |
    sort -u | grep -E "^($(IFS='|'; echo "${lint_folders[*]}"))/.*\.(cpp|hpp|h)$" || true
}

# The sources to analyse for a list of files on standard input: a header stands for those that include it by name.
sources_of() {
  local file
  while read -r file; do
    case $file in
      *.cpp) echo "$file" ;;
      runtime/include/*) including "<${file#runtime/include/}>" ;;
      *) including "\"$file\"" ;;
    esac
  done | sort -u
}

# grep answers 1 when nothing includes it, which is no error here.
including() { (cd "$root" && { grep -rlF --include='*.cpp' "$1" "${lint_folders[@]}" || [[ $? == 1 ]]; }); }

# check NAME COMMAND...: runs it, remembers a failure, goes on.
check() {
  local name=$1
  shift
  say "lint: $name"
  if ! "$@" >&2; then failed_checks+=("$name"); fi
}

check_format() {
  ((${#files[@]})) || return 0
  if ((fix)); then (cd "$root" && clang-format-19 -i "${files[@]}"); else (cd "$root" && clang-format-19 --dry-run --Werror "${files[@]}"); fi
}

# clang does not know every flag of g++; a copy of the database without those is what clang-tidy reads.
check_tidy() {
  local sources
  mapfile -t sources < <(printf '%s\n' "${files[@]}" | sources_of | python3 "$root/dev.d/tidy_db.py" "$build" "$build/lint" "$root")
  ((${#sources[@]})) || { say "no source that is compiled has changed"; return 0; }
  printf '%s\0' "${sources[@]}" | (cd "$root" && xargs -0 -n 1 -P "$jobs" clang-tidy-19 --quiet -p "$build/lint" --warnings-as-errors='*')
}

check_floors() { python3 "$root/tests/floors/floors.py" "$root" && python3 "$root/tests/floors/floors.py" "$root" --selftest; }

check_scripts() { (cd "$root" && shellcheck -x dev .ci/run dev.d/*.sh); }

check_json() {
  local file
  while read -r file; do
    python3 -m json.tool "$root/$file" /dev/null || { echo "$file is no JSON"; return 1; }
  done < <(cd "$root" && find config plugins tests -name '*.json' -not -path '*/bad/*')
}

# The programs need not be installed for the unit to be right: a copy names one that is there.
check_unit() {
  local scratch status=0
  scratch=$(mktemp -d)
  sed 's#/usr/bin/smarm[a-z]*#/bin/true#' "$root/systemd/smarmd.service" >"$scratch/smarmd.service"
  systemd-analyze verify --man=no "$scratch/smarmd.service" || status=1
  systemd-analyze security --offline=yes --no-pager --threshold="$security_threshold" "$root/systemd/smarmd.service" | tail -n 1 || status=1
  rm -rf "$scratch"
  return "$status"
}

cmd_lint() {
  local fix=0 all=0 files=() failed_checks=()
  while (($#)); do
    case $1 in
      --all) all=1 ;;
      --fix) fix=1 ;;
      *) misuse "lint: '$1' is no option; they are --all, --fix" ;;
    esac
    shift
  done
  need "lint" "${lint_packages[@]}"
  configure "$build"
  if ((all)); then mapfile -t files < <(cpp_files); else mapfile -t files < <(changed_files); fi
  say "lint: ${#files[@]} C++ files$( ((all)) || echo ' that changed; --all takes every one')"
  check floors check_floors
  check scripts check_scripts
  check JSON check_json
  check "unit file" check_unit
  check format check_format
  check clang-tidy check_tidy
  ((${#failed_checks[@]} == 0)) || die "lint failed: ${failed_checks[*]}"
  say "lint is clean"
}

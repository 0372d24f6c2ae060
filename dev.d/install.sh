# ./dev install: the release build to its places. Sourced by dev.
# shellcheck shell=bash disable=SC2154  # root, build: set by dev

# put MODE FILE PLACE: one file, made with the rights it is installed with.
put() { "${privileged[@]}" install -D -m "$1" "$2" "$3"; }

# put_text MODE PLACE: standard input.
put_text() {
  local scratch
  scratch=$(mktemp)
  cat >"$scratch"
  put "$1" "$scratch" "$2"
  rm -f "$scratch"
}

# put_config FILE PLACE: a file that the administrator may edit is never overwritten. What we installed last lies beside the shared
# files, so that an unedited one can follow the new version.
put_config() {
  local file=$1 place=$2 last=$3
  if [[ ! -e $place ]] || cmp -s "$place" "$file" || { [[ -e $last ]] && cmp -s "$place" "$last"; }; then
    put 644 "$file" "$place"
    "${privileged[@]}" rm -f "$place.new"
  else
    put 644 "$file" "$place.new"
    say "$place was edited and stays; the new version lies beside it: $place.new"
  fi
  put 644 "$file" "$last"
}

pkg_config_file() {
  local prefix=$1
  cat <<END
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: smarm
Description: green-thread actors in plain blocking C++
Version: $(project_version)
Cflags: -I\${includedir} -std=c++23 ${actor_flags[*]}
Libs: -Wl,--whole-archive \${libdir}/libsmarm.a -Wl,--no-whole-archive -pthread $(runtime_libs)
END
}

project_version() { python3 -c 'import json, subprocess, sys; print(json.loads(subprocess.check_output(["meson", "introspect", "--projectinfo", sys.argv[1]]))["version"])' "$build"; }

# The shipped configuration with the paths of this prefix.
shipped_config() {
  sed -e "s#\"\\./smarmd.schema.json\"#\"file://$1/share/smarmd/smarmd.schema.json\"#" -e "s#/usr/lib/smarmd#$1/lib/smarmd#" "$root/config/smarmd.json"
}

install_files() {
  local prefix=$1 to=$2 name target
  local lib=$to$prefix/lib share=$to$prefix/share/smarmd
  for name in smarmd smarmctl; do put 755 "$build/daemon/$name" "$to$prefix/bin/$name"; done
  while read -r target; do put 644 "$build/$target" "$lib/smarmd/plugins/${target##*/}"; done < <(plugin_targets)
  for name in "$root"/runtime/include/smarm/*; do put 644 "$name" "$to$prefix/include/smarm/${name##*/}"; done
  put 644 "$build/runtime/libsmarm.a" "$lib/libsmarm.a"
  pkg_config_file "$prefix" | put_text 644 "$lib/pkgconfig/smarm.pc"
  put 644 "$root/runtime/gdb/smarm-gdb.py" "$to$prefix/share/smarm/smarm-gdb.py"

  put 644 "$root/config/smarmd.schema.json" "$share/smarmd.schema.json"
  for name in README LOOM CHANGELOG; do put 644 "$root/$name.md" "$share/$name.md"; done
  for name in runtime daemon plugins config; do put 644 "$root/$name/README.md" "$share/$name.md"; done
  put 644 "$root/LICENSE" "$share/LICENSE"

  local scratch
  scratch=$(mktemp)
  shipped_config "$prefix" >"$scratch"
  put_config "$scratch" "$to/etc/smarmd/smarmd.json" "$share/smarmd.json"
  rm -f "$scratch"
  "${privileged[@]}" install -d -m 755 "$to/etc/smarmd/conf.d"

  sed "s#/usr/bin/#$prefix/bin/#; s#/usr/share/#$prefix/share/#g" "$root/systemd/smarmd.service" | put_text 644 "$lib/systemd/system/smarmd.service"
  put 644 "$root/systemd/60-smarmd.conf" "$lib/sysctl.d/60-smarmd.conf"
}

# What makes the new files known to the running system.
activate() {
  local conf=$1/lib/sysctl.d/60-smarmd.conf wanted
  wanted=$(sed -n 's/^vm.max_map_count *= *//p' "$conf")
  if (($(cat /proc/sys/vm/max_map_count) < wanted)); then
    "${privileged[@]}" sysctl -q -w "vm.max_map_count=$wanted" 2>/dev/null || say "could not raise vm.max_map_count now; it is raised at the next boot ($conf)"
  fi
  [[ -d /run/systemd/system ]] || { say "systemd does not run here: start it by hand: $1/bin/smarmd --config /etc/smarmd/smarmd.json"; return 0; }
  "${privileged[@]}" systemctl daemon-reload
  if systemctl is-active --quiet smarmd; then
    say "smarmd runs the old version: systemctl restart smarmd"
  else
    say "now: systemctl start smarmd"
  fi
}

cmd_install() {
  local prefix=/usr destdir=""
  while (($#)); do
    case $1 in
      --prefix | --destdir)
        (($# > 1)) || misuse "install: $1 needs a directory"
        if [[ $1 == --prefix ]]; then prefix=$2; else destdir=$2; fi
        shift
        ;;
      --prefix=*) prefix=${1#*=} ;;
      --destdir=*) destdir=${1#*=} ;;
      *) misuse "install: '$1' is no option; they are --prefix DIR, --destdir DIR" ;;
    esac
    shift
  done
  [[ $prefix == /* ]] || misuse "install: --prefix must be an absolute path, not '$prefix'"
  prefix=${prefix%/}
  build_all
  privileged=()
  if [[ -n $destdir ]]; then
    mkdir -p "$destdir"
    destdir=$(cd -- "$destdir" && pwd)
  elif ((EUID != 0)); then
    privileged=(sudo)
  fi
  say "installing to ${destdir}${prefix} and $destdir/etc/smarmd"
  install_files "$prefix" "$destdir"
  if [[ -n $destdir ]]; then say "installed to $destdir; on the machine it is for: systemctl daemon-reload && systemctl start smarmd"; else activate "$prefix"; fi
}

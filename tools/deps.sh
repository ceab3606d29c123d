#!/bin/sh
# Installs what is missing for building, testing and showing matchmaker, and says nothing when nothing is.
#   tools/deps.sh                everything (Debian's apt-get, as root or through sudo)
#   tools/deps.sh demo           what the build and `make demo` need
#   tools/deps.sh --check build  only names what the build lacks; exit status 1 then
set -u

has_library() { pkg-config --exists "$1" 2>/dev/null; }
# shellcheck disable=SC2086 # CC may be several words: "ccache gcc"
has_header() { echo "#include <$1>" | ${CC:-cc} -E - >/dev/null 2>&1; }
has_command() { command -v "$1" >/dev/null 2>&1; }
has_module() { "$1" -e "require '$2'" >/dev/null 2>&1; }
has_busybox() { ! ldd "$(command -v busybox)" >/dev/null 2>&1 && has_command busybox; } # a static one
has_shared() { ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p 2>/dev/null | grep -q "$1"; }
has_dictionary() { ls /usr/share/hunspell/*.aff >/dev/null 2>&1; }
has_big_dictionary() { ls /usr/share/hunspell/hu_HU.aff /usr/share/hunspell/tr_TR.aff >/dev/null 2>&1 || has_dictionary; }

has_fuzzer() { echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null; }

# what is probed | Debian's package
build_needs='
has_command cc|gcc
has_command ar|binutils
has_command pkg-config|pkg-config
has_header stdlib.h|libc6-dev
has_header ffi.h|libffi-dev
has_header libelf.h|libelf-dev
has_header yaml.h|libyaml-dev
has_header elfutils/libdwfl.h|libdw-dev'
demo_needs='
has_command luajit|luajit
has_library luajit|libluajit-5.1-dev
has_header hunspell/hunspell.h|libhunspell-dev
has_big_dictionary|hunspell-hu'
other_needs='
has_command c++|g++
has_command valgrind|valgrind
has_command lua5.1|lua5.1
has_library lua5.1|liblua5.1-0-dev
has_command lua5.2|lua5.2
has_library lua5.2|liblua5.2-dev
has_command lua5.3|lua5.3
has_library lua5.3|liblua5.3-dev
has_command lua5.4|lua5.4
has_library lua5.4|liblua5.4-dev
has_command busted|lua-busted
has_module luajit lfs|lua-filesystem
has_shared libreadline.so.8|libreadline8
has_command tmux|tmux
has_command luacheck|lua-check
has_command zsh|zsh
has_command fish|fish
has_library bash-completion|bash-completion
has_command luarocks|luarocks
has_command clang-format|clang-format
has_command clang-tidy|clang-tidy
has_command clang|clang
has_fuzzer|libclang-rt-14-dev
has_command cppcheck|cppcheck
has_command readelf|binutils
has_command gdb|gdb
has_command qemu-system-x86_64|qemu-system-x86
has_busybox|busybox-static
has_command cpio|cpio
has_library sqlite3|libsqlite3-dev
has_library python3-embed|libpython3-dev'

missing() { # of the list on standard input, the packages whose probe fails
  while IFS='|' read -r probe package; do
    [ -n "$probe" ] || continue
    $probe || printf '%s\n' "$package"
  done | sort -u | tr '\n' ' '
}

if [ "${1:-}" = --check ]; then
  lacks=$(printf '%s\n' "$build_needs" | missing)
  [ -z "$lacks" ] && exit 0
  echo "matchmaker: the build lacks (Debian's names): $lacks- \`make deps\` installs them" >&2
  exit 1
fi

needs="$build_needs$demo_needs"
[ "${1:-}" = demo ] || needs="$needs$other_needs"

wants=$(printf '%s\n' "$needs" | missing)
[ -z "$wants" ] && exit 0

root=
if [ "$(id -u)" != 0 ]; then
  if has_command sudo; then root=sudo; else root=none; fi
fi
if ! has_command apt-get || [ "$root" = none ]; then
  echo "matchmaker: missing (Debian's names): $wants" >&2
  has_command apt-get && echo "matchmaker: not root, and no sudo: apt-get install $wants" >&2
  exit 1
fi
echo "matchmaker: installing $wants"
export DEBIAN_FRONTEND=noninteractive
$root apt-get -qq update || exit 1
# shellcheck disable=SC2086 # a list of words
$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $wants >/dev/null || exit 1

lacks=$(printf '%s\n' "$needs" | missing)
[ -z "$lacks" ] && exit 0
echo "matchmaker: still missing after the installation: $lacks" >&2
exit 1

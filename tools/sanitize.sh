#!/bin/sh
# Runs the unit programs, and the Lua specs under one Lua, with what `make check-sanitize` built under ASan and UBSan.
#   tools/sanitize.sh LUA      $MM_BUILD: the build folder; its sanitize/ has the programs and the module
# Names each that fails; exit status 1 then. Not run, or not counted, and why:
#   - the Matchmaker, launcher and images: freestanding, inside a slot, or made before; they are as they always are
#   - a_thread_that_ends_leaves_nothing: ASan keeps mappings of its own of threads that ended
#   - install, rockspec, launcher: they test what is built and installed, not the client's side
set -u
lua=$1
build=${MM_BUILD:-build}
status=0
# The gate has its own handlers and alternate stacks, and faults of images are no findings. Images are unmapped under
# their handles at the end of a state, which LeakSanitizer cannot follow.
export ASAN_OPTIONS="use_sigaltstack=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0:allow_user_segv_handler=1:detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for shared in image fixture; do ln -sfn "../$shared" "$build/sanitize/$shared"; done

report() { # NAME STATUS, and its output in $scratch/log
  found=$(grep -cE 'ERROR: AddressSanitizer|runtime error:' "$scratch/log")
  wrong=$(grep '^not ok' "$scratch/log" | grep -cv 'a_thread_that_ends_leaves_nothing')
  passed=$(grep -c '^ok' "$scratch/log")
  if [ "$found$wrong" = 00 ] && [ "$2" -le 1 ] && [ "$passed" != 0 ]; then
    echo "sanitize $1: $passed passed"
    return
  fi
  echo "sanitize $1: FAILED ($passed passed, $wrong failed, $found findings, exit status $2)"
  grep -E -A12 'ERROR: AddressSanitizer|runtime error:|^not ok' "$scratch/log" | head -40
  status=1
}

for program in "$build"/sanitize/unit/*_test; do
  mkdir "$scratch/files"
  timeout 300 "$program" "$scratch/files" >"$scratch/log" 2>&1
  report "${program##*/}" $?
  rm -rf "$scratch/files"
done
for spec in spec/*_spec.lua; do
  case $spec in */install_spec.lua | */rockspec_spec.lua | */launcher_spec.lua) continue ;; esac
  MM_BUILD=$build LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH="$build/sanitize/lua/$lua/?.so;;" \
    LD_PRELOAD="$("${CC:-cc}" -print-file-name=libasan.so)" \
    timeout 300 busted --lua="$lua" --exclude-tags=slow -o TAP "$spec" >"$scratch/log" 2>&1
  report "$spec" $?
done
exit $status

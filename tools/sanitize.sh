#!/bin/sh
# Runs the unit programs, and the Lua specs under one Lua, with what `make check-sanitize` built under ASan and UBSan.
#   tools/sanitize.sh LUA      $MM_BUILD: the build folder; its sanitize/ has the programs and the module
# Names each that fails; exit status 1 then. Not run, or not counted, and why:
#   - the Matchmaker and servers: freestanding, and inside a slot; they are as they always are
#   - a_thread_that_ends_leaves_nothing: ASan keeps mappings of its own of threads that ended
#   - exhaust_test, inject_test: where memory is refused, ASan gives up
#   - install, rockspec: they test what is built and installed
#   - endurance, abi: they measure memory, and compile programs of their own; debugger: gdb, preloaded, shows nothing
set -u
lua=$1
build=${MM_BUILD:-build}
status=0
# The gate has its own handlers and alternate stacks, and faults of images are no findings; troff frees what it never got
# from new. Images are unmapped under
# their handles at the end of a state, which LeakSanitizer cannot follow.
export ASAN_OPTIONS="use_sigaltstack=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0:allow_user_segv_handler=1:alloc_dealloc_mismatch=0:detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# What is found in whatever process, its parent may not show.
export ASAN_OPTIONS="$ASAN_OPTIONS:log_path=$scratch/found" UBSAN_OPTIONS="$UBSAN_OPTIONS:log_path=$scratch/found"
for shared in image fixture; do ln -sfn "../$shared" "$build/sanitize/$shared"; done

# The build folder as the specs see it: the launcher and the client's module are the ones to be tried.
real=$(realpath "$build")
suite=$build/sanitize/suite
rm -rf "$suite"
mkdir -p "$suite/lua/$lua/matchmaker"
ln -s "$real"/* "$suite/" 2>/dev/null # all but lua/, which is there
ln -sfn "$real/sanitize/matchmaker-launch" "$suite/matchmaker-launch"
ln -s "$real/sanitize/lua/$lua/matchmaker/core.so" "$real/lua/$lua/matchmaker/server" "$suite/lua/$lua/matchmaker/"

report() { # NAME STATUS, and its output in $scratch/log
  cat "$scratch"/found.* >>"$scratch/log" 2>/dev/null
  rm -f "$scratch"/found.*
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
  case $program in */exhaust_test | */inject_test) continue ;; esac
  mkdir "$scratch/files"
  timeout 300 "$program" "$scratch/files" >"$scratch/log" 2>&1
  report "${program##*/}" $?
  rm -rf "$scratch/files"
done
for spec in spec/*_spec.lua; do
  case $spec in */install_spec.lua | */rockspec_spec.lua | */endurance_spec.lua | */abi_spec.lua | */debugger_spec.lua) continue ;; esac
  MM_BUILD=$suite LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH="$suite/lua/$lua/?.so;;" \
    LD_PRELOAD="$("${CC:-cc}" -print-file-name=libasan.so)" \
    timeout 300 busted --lua="$lua" --exclude-tags=slow,long -o TAP "$spec" >"$scratch/log" 2>&1
  report "$spec" $?
done
exit $status

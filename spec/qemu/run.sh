#!/bin/sh
# Runs unit programs inside QEMU, on a CPU with protection keys and FSGSBASE and on a kernel of Debian's.
#   spec/qemu/run.sh KERNEL UNIT...     KERNEL: 6.1 or 6.12; $MM_BUILD: the build folder, with everything in it
# Prints what they print, then `done` when the guest came to its end. The images are made in the guest: they
# are for its CPU. QEMU's emulation is right about protection keys, and says nothing about time.
set -eu
build=${MM_BUILD:-build} kernel=$1
shift

find_package() { apt-cache search --names-only "$1" | awk '{print $1}' | sort -V | tail -n 1; }

# Debian's package of the kernel, unpacked below build/kernel.
fetch() { # FOLDER PATTERN
  [ -e "$1/vmlinuz" ] && return
  mkdir -p "$1"
  package=$(find_package "$2")
  [ -n "$package" ] || { $(command -v sudo) apt-get -qq update >&2 && package=$(find_package "$2"); }
  [ -n "$package" ] || { echo "# no package of kernel $kernel: apt-cache search '$2'" >&2; exit 1; }
  (cd "$1" && apt-get -qq download "$package" && dpkg -x ./*.deb . && mv boot/vmlinuz-* vmlinuz &&
    rm -rf ./*.deb boot lib usr)
}

copy() { # FILE...  with the libraries they need
  for file; do
    mkdir -p "$root/$(dirname "$file")"
    case $file in
      */named) cp "$file" "$root/$file" ;; # its exports are found by debug information
      *) strip -g -o "$root/$file" "$file" ;;
    esac
    ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
      [ -e "$root$library" ] || { mkdir -p "$root$(dirname "$library")"; cp -L "$library" "$root$library"; }
    done
  done
}

fetch "$build/kernel/$kernel" "^linux-image-$kernel\\.[0-9.-]+(\\+[a-z0-9]+)?(-[0-9]+)?-cloud-amd64\$"
root=$(mktemp -d)
trap 'rm -rf "$root" "$root.cpio" "$root.disk"' EXIT
chmod 755 "$root" # for who is not root
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/$build/image"
cp "$(command -v busybox)" "$root/bin/busybox"
copy "$build/matchmaker-launch"
library=$(ldconfig -p | sed -n 's/.*libgcc_s\.so\.1.*x86-64.*=> //p' | head -n 1) # backtrace(3) loads it
mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
# A program in Lua goes with what it requires.
copy_lua() { # UNIT
  lua=$(command -v luajit)
  copy "$lua" "$build/lua/luajit/matchmaker/core.so"
  mkdir -p "$root/spec/unit" "$root/$build/unit" && cp -r lua "$root" && cp "spec/unit/$1.lua" "$root/spec/unit"
  printf '%s\n' '#!/bin/sh' 'export LUA_PATH="lua/?.lua;lua/?/init.lua"' \
    "LUA_CPATH='$build/lua/luajit/?.so' exec $lua spec/unit/$1.lua $build" >"$root/$build/unit/${1}_test"
  chmod +x "$root/$build/unit/${1}_test"
}
source_of() { [ -e "spec/unit/$1.lua" ] && echo "spec/unit/$1.lua" || echo "spec/unit/${1}_test.c"; }
sources=$(for unit; do source_of "$unit"; done)
for image in "$build"/image/*.mmi; do # those that the programs name
  name=$(basename "$image" .mmi)
  # shellcheck disable=SC2086 # a list of paths
  [ -x "$build/fixture/$name" ] && grep -qw "$name" $sources spec/unit/attack.h && copy "$build/fixture/$name"
done
for unit; do
  case $(source_of "$unit") in
    *.lua) copy_lua "$unit" ;;
    *) copy "$build/unit/${unit}_test" ;;
  esac
done

cat >"$root/init" <<END
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin MM_EMULATED=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up
mke2fs /dev/nvme0n1 >/dev/null 2>&1 && mount /dev/nvme0n1 /tmp || echo "# no disk: no file can be swap space"
chmod 1777 /tmp
cd /
for server in $build/fixture/*; do
  $build/matchmaker-launch -o $build/image/\$(basename \$server).mmi \$server >/tmp/log 2>&1 ||
    { sed 's/^/# /' /tmp/log; echo "not ok snapshot of \$server"; }
done
for unit in $*; do
  echo "unit \$unit, \$(cut -d' ' -f1 /proc/uptime) s"
  mkdir /tmp/\$unit
  timeout 300 $build/unit/\${unit}_test /tmp/\$unit \$([ \$unit = request_map ] && echo 500) 2>&1
  echo "status \$?"
done
echo done
poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$root.cpio"

# Files in memory cannot be swap space.
truncate -s 128M "$root.disk"
# With QEMU 7.2 and a new kernel, cx16 sometimes ends in a double fault at boot.
timeout "${LIMIT:-600}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-cx16 -machine q35 -m 1024 -smp 2 \
  -nodefaults -no-user-config -display none -no-reboot -serial stdio -nic none \
  -drive "file=$root.disk,format=raw,if=none,id=disk" -device nvme,drive=disk,serial=1 \
  -kernel "$build/kernel/$kernel/vmlinuz" -initrd "$root.cpio" \
  -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check" \
  </dev/null | tr -d '\r'

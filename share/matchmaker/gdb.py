"""Tells gdb what lies in the arena of a process that uses matchmaker: the Matchmaker and every module of every image.

    (gdb) source share/matchmaker/gdb.py
    (gdb) matchmaker-symbols

The module files named in an image are loaded where the image has them, when they are still the same build; otherwise the
image's own symbol table is. `$MATCHMAKER_ELF` names the file of the Matchmaker (default: beside this script or under build/)."""

import os
import re
import struct

import gdb

ARENA_LOW, ARENA_HIGH, SLOT_SHIFT = 0x200000000000, 0x500000000000, 36
PT_LOAD, PT_NOTE = 1, 4
NOTE_MODULES = 3
HERE = os.path.dirname(os.path.abspath(__file__))  # gdb forgets the name when it has read this


def program_headers(data):
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    return [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]


def notes(data):
    for kind, _, offset, _, _, size, _, align in program_headers(data):
        if kind != PT_NOTE:
            continue
        step = 8 if align == 8 else 4
        end = offset + size
        while offset + 12 <= end:
            name_size, size_, type_ = struct.unpack_from("<III", data, offset)
            start = offset + 12 + name_size
            start += -(start - 0) % step
            yield data[offset + 12:offset + 12 + name_size].rstrip(b"\0"), type_, data[start:start + size_]
            offset = start + size_
            offset += -offset % step


def modules(image):
    """(path, build id, bias) of each module of an image file."""
    with open(image, "rb") as file:
        data = file.read(16 << 20)
    for owner, type_, body in notes(data):
        if owner != b"Matchmaker" or type_ != NOTE_MODULES:
            continue
        count, _ = struct.unpack_from("<II", body, 0)
        strings = body[8 + 32 * count:]
        text = lambda at: strings[at:strings.index(b"\0", at)].decode()
        for i in range(count):
            low, _, bias, path, build_id = struct.unpack_from("<QQQII", body, 8 + 32 * i)
            yield text(path), text(build_id), low, bias


def build_id(path):
    with open(path, "rb") as file:
        data = file.read(1 << 20)
    for owner, type_, body in notes(data):
        if owner == b"GNU" and type_ == 3:
            return body.hex()
    return ""


def mapped():
    """Paths of files mapped in the arena, and whether the Matchmaker is there."""
    paths, base = [], False
    with open("/proc/%d/maps" % gdb.selected_inferior().pid) as maps:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-\S+ \S+ \S+ \S+ \S+\s*(.*)", line)
            low, path = int(found[1], 16), found[2]
            if not ARENA_LOW <= low < ARENA_HIGH:
                continue
            if low < ARENA_LOW + (1 << SLOT_SHIFT):
                base = True
            elif path.startswith("/") and path not in paths:
                paths.append(path)
    return paths, base


def core_file():
    for path in (os.environ.get("MATCHMAKER_ELF"), os.path.join(HERE, "matchmaker.elf"),
                 os.path.join(HERE, "../../build/matchmaker.elf")):
        if path and os.path.exists(path):
            return path
    return None


class MatchmakerSymbols(gdb.Command):
    """Load the symbols of the Matchmaker and of all mapped images."""

    def __init__(self):
        super().__init__("matchmaker-symbols", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        paths, base = mapped()
        core = core_file()
        if base and core:
            gdb.execute("add-symbol-file %s" % core, from_tty, True)
        for image in paths:
            for path, wanted, _, bias in modules(image):
                if os.path.exists(path) and (not wanted or build_id(path) == wanted):
                    gdb.execute("add-symbol-file %s -o 0x%x" % (path, bias), from_tty, True)
                else:
                    gdb.write("matchmaker: %s is not the build that %s was made with\n" % (path, image))


MatchmakerSymbols()

local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

describe("the launcher", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)

  -- Maps the image, and unmaps it when `use` is done with it.
  local function with(path, use)
    local image = mm.assert(mm.map(path))
    use(image.exports, image)
    mm.assert(image:unmap())
  end

  local function slot_of(path)
    local slot
    with(path, function(_, image) slot = image:info().slot end)
    return slot
  end

  local function in_folder(command)
    return shell.run(("cd %s && %s"):format(folder(), command))
  end

  local function files() return shell.output("ls -A " .. folder()) end

  -- The one line that a failure says, without the command's name.
  local function complaint(result, status)
    assert.equal(status or 1, result.status, result.stderr)
    assert.equal("", result.stdout)
    local text = result.stderr:match("^matchmaker: ([^\n]+)\n$")
    assert(text, "it is not one line: " .. result.stderr)
    return text
  end

  describe("makes an image", function()
    it("of one that would take the trapped system calls from it", function()
      shell.snapshot(folder "x.mmi", "trap")
      with(folder "x.mmi", function(exports) assert.equal(-1, exports.dispatch_off()) end) -- EPERM
    end)

    it("of a dynamic program", function()
      shell.snapshot(folder "x.mmi", "math")
      with(folder "x.mmi", function(exports)
        assert.equal(3, exports.add(1, 2))
        assert.equal(100, exports.counter_get())
      end)
    end)

    it("of a static program", function()
      shell.snapshot(folder "x.mmi", "static_pie")
      with(folder "x.mmi", function(exports)
        assert.equal("before", exports.kept())
        assert.equal(6, exports.next())
        assert.equal(1, exports.allocate(100000))
      end)
    end)

    it("of a C++ program, whose exceptions are still caught", function()
      shell.snapshot(folder "x.mmi", "cxx")
      with(folder "x.mmi", function(exports)
        assert.equal(3, exports.number_of "három")
        assert.equal("thrown at the bottom", exports.caught(5))
      end)
    end)

    it("of a program that is found in PATH", function()
      assert.equal(0, in_folder(("PATH=%s:$PATH %s math"):format(shell.fixture "", shell.launcher))
        .status)
      assert.equal("math.mmi", files())
    end)

    it("called like the program, in the folder it was started in", function()
      assert.equal(0, in_folder(shell.launcher .. " " .. shell.fixture "math").status)
      assert.equal("math.mmi", files())
    end)

    it("where -o says, and where mm_snapshot says if it says so", function()
      shell.snapshot(folder "x.mmi", "surroundings", "--path " .. folder "y.mmi")
      assert.equal("y.mmi", files())
    end)

    it("with a name as long as names may be", function()
      local name = ("x"):rep(251) .. ".mmi"
      shell.snapshot(folder(name), "math")
      assert.equal(name, files())
    end)

    it("without a word", function()
      local result = shell.launch(("-o %s %s"):format(folder "x.mmi", shell.fixture "math"))
      assert.same({ status = 0, stdout = "", stderr = "" }, result)
    end)

    it("that keeps what the program was given as arguments, options included", function()
      shell.snapshot(folder "x.mmi", "surroundings", "--slot 'two words' '' -o")
      with(folder "x.mmi", function(exports)
        assert.equal(4, exports.arguments())
        assert.equal(shell.fixture "surroundings", exports.argument(0))
        local list = { "--slot", "two words", "", "-o" }
        for i, argument in ipairs(list) do assert.equal(argument, exports.argument(i)) end
      end)
    end)

    it("that only its owner may read, whatever the umask", function()
      for _, mask in ipairs { "000", "022", "777" } do
        local path = folder("x" .. mask .. ".mmi")
        shell.output(("umask %s && %s -o %s %s"):format(mask, shell.launcher, path,
          shell.fixture "math"))
        assert.equal("600", shell.output("stat -c %a " .. path))
      end
    end)
  end)

  it("leaves out the pages of the stack that are not in use", function()
    shell.snapshot(folder "x.mmi", "leftover")
    local _, count = shell.read(folder "x.mmi"):gsub("leftover", "")
    assert.is_true(count <= 4096 / 8)
  end)

  describe("cuts the environment down", function()
    local secret = "swordfish-" .. "7f3a91"

    local function snapshot(options)
      shell.output(("SECRET=%s TZ=Europe/Budapest LC_TIME=hu_HU %s %s -o %s %s"):format(secret,
        shell.launcher, options, folder "x.mmi", shell.fixture "surroundings"))
    end

    it("so that a secret does not get into the image", function()
      snapshot ""
      assert.is_nil(shell.read(folder "x.mmi"):find(secret, 1, true))
      with(folder "x.mmi", function(exports) assert.is_nil(exports.variable "SECRET") end)
    end)

    it("but keeps PATH, the time zone and the language", function()
      snapshot ""
      with(folder "x.mmi", function(exports)
        assert.equal("Europe/Budapest", exports.variable "TZ")
        assert.equal("hu_HU", exports.variable "LC_TIME")
        assert.is_true(#exports.variable "PATH" > 0)
      end)
    end)

    it("and has no call bound at its first use, which would write", function()
      snapshot "--env LD_BIND_NOW"
      with(folder "x.mmi", function(exports)
        assert.equal("1", exports.variable "LD_BIND_NOW")
      end)
    end)

    it("and keeps what --env names", function()
      snapshot "--env OTHER --env=SECRET"
      assert.is_number(shell.read(folder "x.mmi"):find(secret, 1, true))
      with(folder "x.mmi", function(exports)
        assert.equal(secret, exports.variable "SECRET")
        assert.is_nil(exports.variable "OTHER")
      end)
    end)
  end)

  describe("chooses a slot", function()
    it("that --slot names", function()
      shell.output(("%s --slot 123 -o %s %s"):format(shell.launcher, folder "x.mmi",
        shell.fixture "math"))
      assert.equal(123, slot_of(folder "x.mmi"))
    end)

    it("that stays when the snapshot is made again", function()
      shell.output(("%s --slot=321 -o %s %s"):format(shell.launcher, folder "x.mmi",
        shell.fixture "math"))
      shell.snapshot(folder "x.mmi", "text")
      assert.equal(321, slot_of(folder "x.mmi"))
    end)

    it("that follows from the name of the image", function()
      for _, name in ipairs { "a", "b" } do
        shell.output("mkdir " .. folder(name))
        shell.snapshot(folder(name .. "/x.mmi"), "math")
      end
      assert.equal(slot_of(folder "a/x.mmi"), slot_of(folder "b/x.mmi"))
    end)

    it("that no image beside it has", function()
      shell.snapshot(folder "x.mmi", "math")
      local slot = slot_of(folder "x.mmi")
      shell.output(("cd %s && mv x.mmi other.mmi"):format(folder()))
      shell.snapshot(folder "x.mmi", "math")
      assert.are_not.equal(slot, slot_of(folder "x.mmi"))
      with(folder "x.mmi", function(exports)
        with(folder "other.mmi", function(others)
          assert.equal(7, exports.add(3, 4))
          assert.equal(7, others.add(3, 4))
        end)
      end)
    end)

    it("although there are things beside it that are no images", function()
      shell.output(("cd %s && mkfifo fifo.mmi && mkdir folder.mmi && echo x >text.mmi && " ..
        "ln -s nowhere link.mmi && : >empty.mmi && head -c 100 %s >cut.mmi"):format(folder(),
        support.image("math"):gsub("^([^/])", shell.root .. "/%1")))
      shell.snapshot(folder "x.mmi", "math")
      with(folder "x.mmi", function(exports) assert.equal(3, exports.add(1, 2)) end)
    end)
  end)

  describe("replaces an image", function()
    it("by another file, so that who mapped the old one keeps it", function()
      shell.snapshot(folder "x.mmi", "math")
      local old = mm.assert(mm.map(folder "x.mmi"))
      local inode = shell.output("stat -c %i " .. folder "x.mmi")
      old.exports.counter_set(7)
      shell.snapshot(folder "x.mmi", "text")
      assert.are_not.equal(inode, shell.output("stat -c %i " .. folder "x.mmi"))
      assert.equal(7, old.exports.counter_get())
      mm.assert(old:reset())
      assert.equal(100, old.exports.counter_get())
      assert.equal(3.5, old.exports.add_double(1, 2.5))
      mm.assert(old:unmap())
      with(folder "x.mmi", function(exports) assert.equal(5, exports.length "kutya") end)
    end)

    it("only when the new one is complete", function()
      shell.write(folder "x.mmi", "the old one")
      local text = complaint(in_folder(("ulimit -f 1000; %s -o x.mmi %s"):format(shell.launcher,
        shell.fixture "math")))
      assert.matches("^cannot write .*: File too large$", text)
      assert.equal("x.mmi", files())
      assert.equal("the old one", shell.read(folder "x.mmi"))
    end)

    it("not when the disk is full", function()
      local mount = "mount -t tmpfs -o size=1m none " .. folder()
      if shell.run("unshare -m " .. mount).status ~= 0 then
        return pending("this user cannot mount a small disk")
      end
      local script = "%s && cd %s && echo old >x.mmi; %s -o x.mmi %s; echo $?; ls -A; cat x.mmi"
      local result = shell.run("unshare -m sh -c " .. shell.quote(script:format(mount, folder(),
        shell.launcher, shell.fixture "math")))
      assert.equal("1\nx.mmi\nold\n", result.stdout)
      assert.matches("^matchmaker: cannot write %S*/x.mmi: No space left on device\n$",
        result.stderr)
    end)
  end)

  describe("lets a server try again", function()
    it("after a snapshot that failed with an errno", function()
      local result = shell.launch(("-o %s %s"):format(folder "x.mmi", shell.fixture "twice"))
      assert.equal(0, result.status)
      assert.matches("^matchmaker: cannot write /there/is/[^\n]*: No such file or directory\n$",
        result.stderr)
      with(folder "x.mmi", function(exports) assert.equal(2, exports.error_of_first()) end)
    end)
  end)

  describe("is found by a server that was started by itself", function()
    it("when MATCHMAKER_LAUNCH names it", function()
      local result = in_folder(("MATCHMAKER_LAUNCH=%s %s one two"):format(shell.launcher,
        shell.fixture "surroundings"))
      assert.same({ status = 0, stdout = "", stderr = "" }, result)
      with(folder "surroundings.mmi", function(exports)
        assert.equal(2, exports.arguments())
        assert.equal("two", exports.argument(2))
        assert.is_nil(exports.variable "MATCHMAKER_LAUNCH")
        assert.is_nil(exports.variable "MATCHMAKER_STARTED_AGAIN")
      end)
    end)

    it("or says what is missing", function()
      local result = in_folder("MATCHMAKER_LAUNCH=/nowhere/launch " ..
        shell.fixture "surroundings")
      assert.equal("cannot start matchmaker-launch: No such file or directory; is matchmaker " ..
        "installed? (MATCHMAKER_LAUNCH may name it)", complaint(result))
      assert.equal("", files())
    end)
  end)

  describe("refuses, in one line,", function()
    local function refusal(server, words)
      local result = in_folder(("%s -o x.mmi %s %s"):format(shell.launcher, server, words or ""))
      local text = complaint(result)
      assert.is_nil(files():find("mmi", 1, true))
      return text
    end

    local function refusal_of(name) return refusal(shell.fixture(name)) end

    local function program(bytes)
      shell.write(folder "program", bytes)
      shell.output("chmod +x " .. folder "program")
      return "./program"
    end

    it("a program that is not position-independent, and says what makes it so", function()
      local text = refusal_of "nopie"
      assert.matches("/nopie is not position%-independent", text)
      assert.matches("-fPIE", text, 1, true)
    end)

    it("a script", function()
      assert.matches("program is a script", refusal(program "#!/bin/sh\nexit 0\n"), 1, true)
    end)

    it("a shared library", function()
      local library = shell.output "ls /lib/x86_64-linux-gnu/libm.so.6"
      shell.write(folder "program", shell.read(library))
      shell.output("chmod +x " .. folder "program")
      assert.equal("./program is a shared library, not a program", refusal "./program")
      local loader = "/lib64/ld-linux-x86-64.so.2" -- has an entry
      assert.equal(loader .. " is a shared library, not a program", refusal(loader))
    end)

    it("a 32-bit program", function()
      local text = refusal(program("\127ELF\1\1\1" .. ("\0"):rep(57)))
      assert.equal("./program is a 32-bit program; a server is a 64-bit one", text)
    end)

    it("a program for another CPU", function()
      local bytes = shell.read(shell.fixture "math")
      local aarch64 = bytes:sub(1, 18) .. "\183\0" .. bytes:sub(21)
      assert.matches("another kind of CPU", refusal(program(aarch64)), 1, true)
    end)

    it("a program that was cut off", function()
      assert.matches("is a damaged ELF file",
        refusal(program(shell.read(shell.fixture "math"):sub(1, 300))), 1, true)
      assert.matches("is a damaged ELF file",
        refusal(program(shell.read(shell.fixture "math"):sub(1, 9000))), 1, true)
    end)

    it("what is no program at all", function()
      assert.equal("./program is not an ELF program", refusal(program "hello"))
      assert.equal("./program is not an ELF program", refusal(program ""))
    end)

    it("what is missing", function()
      assert.equal("cannot open /nowhere/server: No such file or directory",
        refusal "/nowhere/server")
      assert.equal("no-such-server: no such program in PATH", refusal "no-such-server")
    end)

    it("a folder and a pipe", function()
      assert.equal("/ is not a regular file", refusal "/")
      shell.output("mkfifo " .. folder "pipe" .. " && chmod 700 " .. folder "pipe")
      assert.equal("./pipe is not a regular file", refusal "./pipe")
    end)

    it("a file that is not executable", function()
      shell.write(folder "program", shell.read(shell.fixture "math"))
      assert.equal("./program is not executable", refusal "./program")
    end)

    it("a program that may not be read", function()
      program(shell.read(shell.fixture "math"))
      shell.output("chmod 111 " .. folder "program")
      local text = complaint(in_folder(shell.unprivileged(shell.launcher .. " ./program")))
      assert.equal("cannot read ./program: Permission denied", text)
    end)

    it("a server that exits before its snapshot, with its status", function()
      assert.matches("/exits exited with status 7 before its snapshot$", refusal_of "exits")
    end)

    it("a server that has closed descriptor 2", function()
      local text = shell.launch(shell.fixture "exits" .. " close").stderr
      assert.matches("/exits exited with status 7 before its snapshot\n$", text)
    end)

    it("a server that never asks for its snapshot", function()
      assert.matches("/nosnapshot exited with status 0 before its snapshot$",
        refusal_of "nosnapshot")
    end)

    it("a server that crashes, and names the function", function()
      assert.matches("/crashes crashed before its snapshot: SIGSEGV at crash_here%+0x%x+ in " ..
        "crashes %(address 0x0%)$", refusal_of "crashes")
    end)

    it("a server that starts a thread", function()
      assert.matches("/thread tried to start 1 thread; an image has one thread$",
        refusal_of "thread")
    end)

    it("a server that leaves a descriptor open, and names the file", function()
      assert.matches("^descriptor %d+ %(/etc/passwd%) is open; close it before mm_snapshot$",
        refusal_of "descriptor")
    end)

    it("a server whose memory is in more pieces than an image may have", function()
      local source = shell.write(folder "pieces.c", [[
#include <matchmaker/server.h>
#include <stdlib.h>
#include <sys/mman.h>
static char *memory;
static int count;
MM_EXPORT(int, sum, (void))
int sum(void) {
  int sum = 0;
  for (int i = 0; i < count; i++) sum += memory[i * 4096L];
  return sum;
}
int main(int argc, char **argv) {
  count = atoi(argv[argc - 1]);
  memory = mmap(0, count * 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < count; i++) memory[i * 4096L] = 1;
  for (int i = 0; i < count; i += 2) mprotect(memory + i * 4096L, 4096, PROT_READ);
  return mm_snapshot(NULL);
}
]])
      shell.output(("cc -fPIE -pie -Icsrc/include -o %s %s %s/libmatchmaker-server.a")
        :format(folder "pieces", source, support.build))
      assert.matches("^the memory is in 1%d%d%d pieces; an image has at most 1024$",
        refusal(folder "pieces", "1100"))
      assert.equal(0, in_folder(shell.launcher .. " -o x.mmi ./pieces 950").status)
      local image = mm.assert(mm.map(folder "x.mmi"))
      assert.is_true(image:info().segments > 900)
      assert.equal(950, image.exports.sum())
      image:unmap()
    end)

    it("itself as a server: images do not nest", function()
      local result = in_folder(("%s %s %s"):format(shell.launcher, shell.launcher,
        shell.fixture "math"))
      assert.equal(1, result.status)
      assert.equal("", files())
    end)

    it("an output folder that is missing, or may not be written to", function()
      local text = complaint(shell.launch("-o /nowhere/x.mmi " .. shell.fixture "math"))
      assert.equal("cannot write /nowhere/x.mmi: No such file or directory", text)
      shell.output("mkdir -m 500 " .. folder "locked")
      local locked = folder "locked/x.mmi"
      local command = ("%s -o %s %s"):format(shell.launcher, locked, shell.fixture "math")
      text = complaint(shell.run(shell.unprivileged(command)))
      assert.equal(("cannot write %s: Permission denied"):format(locked), text)
    end)

    it("an output that is a folder", function()
      local text = complaint(shell.launch(("-o %s %s"):format(folder(), shell.fixture "math")))
      assert.equal(("cannot write %s: Is a directory"):format(folder()), text)
      assert.equal("", files())
      assert.equal("", shell.output(("ls -d %s/../.%s.* 2>/dev/null || true"):format(folder(),
        folder():match("[^/]*$"))))
    end)

    it("an output that is a pipe, which stays, before the server runs", function()
      shell.output("mkfifo " .. folder "pipe")
      local expected = ("cannot write %s: it is not a regular file"):format(folder "pipe")
      local words = ("-o %s %s"):format(folder "pipe", shell.fixture "exits")
      assert.equal(expected, complaint(shell.launch(words)))
      words = ("%s --path %s"):format(shell.fixture "surroundings", folder "pipe")
      assert.matches(expected .. "\n", shell.launch(words).stderr, 1, true)
      assert.equal("pipe", files())
      assert.equal("fifo", shell.output("stat -c %F " .. folder "pipe"))
    end)

    it("a server whose library is missing, after the dynamic linker said so", function()
      local result = in_folder(shell.launcher .. " " ..
        program((shell.read(shell.fixture "math"):gsub("libc%.so%.6", "libx.so.6"))))
      assert.equal(1, result.status)
      assert.matches("libx%.so%.6[^\n]*\nmatchmaker: ./program exited with status 127 before its" ..
        " snapshot\n$", result.stderr)
    end)
  end)

  describe("used wrongly ends with status 2 and one line,", function()
    local function misuse(words)
      local result = shell.launch(words)
      assert.equal(2, result.status)
      assert.equal("", result.stdout)
      local text = result.stderr:match(
        "^matchmaker: ([^\n]+): try `matchmaker snapshot %-%-help`\n$")
      assert(text, result.stderr)
      return text
    end

    it("without a server", function()
      assert.equal("no server is named", misuse "")
      assert.equal("no server is named", misuse "--slot 3")
      assert.equal("no server is named", misuse "--")
    end)

    it("with a slot that does not exist", function()
      for _, slot in ipairs { "0", "768", "-1", "+1", "1x", "x", "''", "1.5",
                              "18446744073709551617" } do
        assert.matches("is not a slot: slots are 1 to 767$", misuse(("--slot %s %s"):format(slot,
          shell.fixture "math")))
      end
    end)

    it("with a variable that is no name", function()
      assert.equal('--env takes the name of a variable, not "A=B"',
        misuse("--env A=B " .. shell.fixture "math"))
    end)

    it("with an export that has no name", function()
      assert.equal("--export takes names of functions",
        misuse("--export '' " .. shell.fixture "math"))
    end)

    it("with an option that is none, or lacks its value", function()
      for _, words in ipairs { "-x", "--slots 3", "-o", "--slot", "--env", "--output=x" } do
        assert.equal(words:match("%S+") .. " is not an option, or lacks its value", misuse(words))
      end
    end)
  end)
end)

describe("a prototype that is none", function()
  local folder = shell.folders(before_each, after_each)

  it("is shown by the launcher, with a caret beneath what is wrong", function()
    local source, server = folder "server.c", folder "server"
    shell.write(source, [[
#include <matchmaker/server.h>
#include <stddef.h>
static int half(int number) { return number / 2; }
int main(void) {
  mm_export((void *)half, "int half(int number, wrong way)", NULL);
  return mm_snapshot(NULL);
}
]])
    shell.output(("cc -fPIE -pie -Icsrc/include -o %s %s %s/libmatchmaker-server.a")
      :format(server, source, support.build))
    local result = shell.run(("%s/matchmaker-launch -o %s %s")
      :format(support.build, folder "x.mmi", server))
    assert.equal(1, result.status)
    assert.equal([[
matchmaker: prototype: unknown type `wrong`, at column 22 of `int half(int number, wrong way)`
matchmaker:   int half(int number, wrong way)
matchmaker:                        ^
]], result.stderr)
    assert.equal("server\nserver.c", shell.output("ls -A " .. folder()))
  end)
end)

describe("an export with a wrong declaration", function()
  local function compile(path)
    local compiler = path:find("%.cc$") and (os.getenv("CXX") or "c++") or os.getenv("CC") or "cc"
    return shell.run(("%s -fsyntax-only -Icsrc/include %s"):format(compiler, path))
  end

  it("does not compile, and the message names the function", function()
    local count = 0
    for path in shell.output("ls spec/refuse/*.c spec/refuse/*.cc"):gmatch("%S+") do
      local result = compile(path)
      count = count + 1
      assert.are_not.equal(0, result.status, path)
      assert.matches("error: [^\n]*spell", result.stderr)
    end
    assert.is_true(count > 0)
  end)

  it("compiles when it is put right", function()
    local path = os.tmpname()
    for _, suffix in ipairs { ".c", ".cc" } do
      local text = shell.read("spec/refuse/signature_bad" .. suffix)
      local right, count = text:gsub("int spell%(int word%) { return word; }",
        "int spell(const char *word) { return word != 0; }")
      assert.equal(1, count)
      local result = compile(shell.write(path .. suffix, right))
      os.remove(path .. suffix)
      assert.equal(0, result.status, result.stderr)
    end
    os.remove(path)
  end)
end)

-- The ABI proof: random signatures, each called with random values directly, through its stub and
-- through the client's C interface, alone and in a batch, and as a callback from the image; every
-- argument and every result arrives bit for bit. And the layouts of random types are the compiler's.
-- spec/abi/ holds the generators and what they fill.
local shell = require "spec.shell"
local support = require "spec.support"

-- Nothing here depends on the Lua.
if not rawget(_G, "jit") then return end

local build = support.build
local has_clang = shell.run("command -v clang").status == 0
local FLAGS = "-O0 -w -Wno-psabi -fPIE -pie -Icsrc -Icsrc/include -Ispec/abi"

local function client_libraries()
  for line in io.lines("Makefile") do
    local libraries = line:match("^CLIENT_LIBS := (.*)")
    if libraries then return libraries end
  end
end

describe("the ABI,", function()
  local libraries_of_client = client_libraries()
  local folder
  before_each(function() folder = shell.output("mktemp -d") end)
  after_each(function() os.execute("rm -rf " .. folder) end)

  local function compile(compiler, name, libraries)
    shell.output(("%s %s -I%s -o %s/%s spec/abi/%s.c %s/%s"):format(compiler, FLAGS, folder, folder,
      name, name, build, libraries))
  end

  -- What differs, with the seed that shows it again.
  local function verdict(command, seed)
    local result = shell.run(command)
    assert(result.status == 0, ("seed %d: %s%s"):format(seed, result.stdout, result.stderr))
    assert.equal("0 failures\n", result.stdout)
  end

  local function calls(seed, count, server, client)
    local either = (server == "clang" or client == "clang") and "clang" or ""
    shell.output(("luajit spec/abi/calls.lua %d %d %s %s"):format(seed, count, folder, either))
    compile(server, "server", "libmatchmaker-server.a")
    shell.output(("%s/matchmaker-launch -o %s/abi.mmi %s/server"):format(build, folder, folder))
    compile(client, "client", "libmatchmaker.a " .. libraries_of_client)
    for _, way in ipairs { "", " batch" } do
      verdict(("%s/client %s/abi.mmi%s"):format(folder, folder, way), seed)
    end
  end

  local function layouts(seed, count, compiler)
    shell.output(("luajit spec/abi/layouts.lua %d %d %s"):format(seed, count, folder))
    compile(compiler, "layouts", "libtest.a " .. libraries_of_client)
    verdict(folder .. "/layouts", seed)
  end

  for seed = 1, 3 do
    it(("of a hundred signatures from seed %d: all bits arrive"):format(seed), function()
      calls(seed, 100, "cc", "cc")
    end)
  end

  it("of ten thousand signatures: all bits arrive #long", function()
    for seed = 101, 140 do
      local other = has_clang and "clang" or "gcc"
      calls(seed, 250, seed % 4 == 1 and other or "gcc", seed % 4 == 2 and other or "gcc")
    end
  end)

  it("of a thousand types: sizes, alignments, offsets, bits are the compiler's", function()
    layouts(1, 1000, "cc")
  end)

  it("of twenty thousand types: the same, with gcc and clang #long", function()
    for seed = 2, 11 do
      layouts(seed, 2000, "gcc")
      if has_clang then layouts(seed, 2000, "clang") end
    end
  end)
end)

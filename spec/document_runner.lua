-- For specs of documents: does what a page says, in a fresh folder, and compares what comes out. A fenced
-- block whose first line is "```LANGUAGE FILE" is that file's content; one of "```console" holds commands, `$ ...`,
-- with what they write after them, where `...` stands for anything.
local support = require "spec.support"
local shell = require "spec.shell"

local runner = {}

-- The fenced blocks of a page, in order.
local function blocks_of(path)
  local blocks, block, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    local language, file = line:match "^```(%a*) ?(.*)$"
    if language and block then
      block = nil
    elseif language then
      block = { language = language, file = file, line = number }
      blocks[#blocks + 1] = block
    elseif block then
      block[#block + 1] = line
    end
  end
  assert(not block, path .. ": the last block does not end")
  return blocks
end

-- The commands of a console block, each with the lines of its output.
local function commands_of(block)
  local commands = {}
  for i, line in ipairs(block) do
    local command = line:match "^%$ (.*)"
    if command then
      commands[#commands + 1] = { command = command, line = block.line + i }
    else
      table.insert(assert(commands[#commands], "output of no command"), line)
    end
  end
  return commands
end

local function pattern_of(expected)
  local text = table.concat(expected, "\n"):gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")
  text = text:gsub("%f[^\n%z]%%%.%%%.%%%.%f[\n%z]", ".*"):gsub("%%%.%%%.%%%.", "[^\n]*")
  return "^" .. text .. "$"
end

-- What an installed matchmaker would be found by; `luajit` is the Lua that runs the spec.
local PACKAGE = "Name: %s\nDescription: as built\nVersion: 0\nCflags: -I%s/csrc/include\n" ..
  "Libs: -L%s -Wl,-rpath,%s -l%s\n"

local function absolute(paths)
  return (paths:gsub("[^;]+", function(path)
    return path:find "^/" and path or shell.root .. "/" .. path
  end))
end

local function environment(folder)
  local build = shell.launcher:match "^(.*)/"
  assert(os.execute(("mkdir -p %s/bin && ln -s %s/bin/matchmaker %s/bin"):format(
    folder, shell.root, folder)))
  for _, name in ipairs { "matchmaker", "matchmaker-server" } do
    shell.write(folder .. "/bin/" .. name .. ".pc",
      PACKAGE:format(name, shell.root, build, build, name))
  end
  shell.write(folder .. "/bin/luajit", ('#!/bin/sh\nexec %s "$@"\n'):format(
    shell.output("command -v " .. support.lua)))
  assert(os.execute("chmod +x " .. folder .. "/bin/luajit"))
  return ("export PATH=%s/bin:$PATH PKG_CONFIG_PATH=%s/bin MM_BUILD=%s MATCHMAKER_LUA=%s " ..
    "LUA_PATH=%s LUA_CPATH=%s; "):format(folder, folder, build, support.lua,
    shell.quote(absolute(package.path)), shell.quote(absolute(package.cpath)))
end

---Does what the page says, in the folder, which has to be empty but for files that the page is about; returns how many
---commands and files there were.
function runner.run(page, folder)
  local prepare, commands, files = environment(folder), 0, 0
  for _, block in ipairs(blocks_of(page)) do
    if block.file ~= "" then
      shell.write(folder .. "/" .. block.file, table.concat(block, "\n") .. "\n")
      files = files + 1
    end
    for _, command in ipairs(block.language == "console" and commands_of(block) or {}) do
      local result = shell.run(("%scd %s; { %s\n} 2>&1"):format(prepare, folder, command.command))
      local output = result.stdout:gsub("\n$", "")
      if not output:find(pattern_of(command)) then
        error(("%s:%d: %s\nwrites:\n%s\nand not:\n%s"):format(page, command.line, command.command,
          output, table.concat(command, "\n")), 0)
      end
      commands = commands + 1
    end
  end
  return commands, files
end

return runner

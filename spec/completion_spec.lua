-- What the shells offer when Tab is pressed: commands, options, values, images and their exports.
local shell = require "spec.shell"
local support = require "spec.support"

local environment = ("env MM_BUILD=%s MATCHMAKER_LUA=%s PATH=%s/bin:$PATH "):format(support.build,
  support.lua, shell.root)

local COMMANDS = { "snapshot", "inspect", "call", "repl", "verify", "describe", "ps",
                   "doctor" }

-- What a word list of the shell's own has for the last word of a line.
local BASH = [[
. share/bash-completion/completions/matchmaker
COMP_WORDS=(%s)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_matchmaker
printf '%%s\n' "${COMPREPLY[@]}"]]

-- zsh completes only where somebody types: at a terminal, into a shell whose `compadd` tells.
local ZSH = [[
zmodload zsh/zpty
zpty typist "FPATH=$PWD/share/zsh/site-functions:$FPATH zsh -f -i"
zpty -w typist 'PS1=; autoload -Uz compinit; compinit -u -d %s
compadd() {
  local word; local -a found
  for word; do
    case $word in -[^-]#[OAD]*) builtin compadd "$@"; return;; esac
  done
  builtin compadd -O found "$@"; print -rl -- $found >>%s
}
finish() { zle complete-word; exit }
setopt extended_glob; zle -N finish; bindkey "^I" finish'
zpty -w -n typist '%s'$'\t'
while zpty -r typist; do :; done >/dev/null]]

-- What zsh read of all its functions, for the next lines, too.
local memory = os.tmpname()
os.remove(memory)

local offered = {}

function offered.bash(line)
  local words = {}
  for word in (line .. " "):gmatch("(%S*) ") do words[#words + 1] = shell.quote(word) end
  return shell.output(environment .. "bash -c " ..
    shell.quote(BASH:format(table.concat(words, " "))))
end

function offered.zsh(line)
  local found = os.tmpname()
  shell.output(environment .. "zsh -f -c " .. shell.quote(ZSH:format(memory, found, line)))
  local text = shell.read(found)
  os.remove(found)
  return text
end

function offered.fish(line)
  return (shell.output(environment .. "fish -c " .. shell.quote(
    ("source share/fish/vendor_completions.d/matchmaker.fish; complete -C '%s'"):format(line)))
    :gsub("\t[^\n]*", ""))
end

local function sorted(text)
  local list, seen = {}, {}
  for word in text:gmatch("%S+") do
    if not seen[word] then list[#list + 1] = word end
    seen[word] = true
  end
  table.sort(list)
  return table.concat(list, " ")
end

local image = support.image("math")
local FOLDER, FILE = image:match("^(.*/)([^/]*)$")

for _, name in ipairs { "bash", "zsh", "fish" } do
  describe("completion in " .. name, function()
    local there = shell.run("command -v " .. name).status == 0
    local it = there and it or pending -- luacheck: ignore
    local function offers(words, line)
      assert.equal(words, sorted(offered[name]("matchmaker " .. line)), line)
    end

    it("offers commands", function()
      offers("describe doctor", "d")
      offers("verify", "help v")
    end)

    it("offers options, and the values that they take", function()
      offers("--timeout", "call --t")
      offers("--svg", "inspect --s")
      offers("output", "call --grant o")
      offers("keys", "repl --guard k")
    end)

    it("offers images, and for a call the exports of its image", function()
      -- zsh completes a path by its last part.
      offers(name == "zsh" and FILE or image, "verify " .. FOLDER .. "mat")
      offers("add add_double", "call " .. image .. " add")
      offers("", "call " .. image .. " add 1 x")
    end)
  end)
end

describe("every shell's completion", function()
  teardown(function() os.remove(memory) end)

  -- How each writes an option down.
  local files = {
    ["share/bash-completion/completions/matchmaker"] = function(option) return option .. "[ ']" end,
    ["share/zsh/site-functions/_matchmaker"] = function(option)
      return "'[*]?" .. option .. "%["
    end,
    ["share/fish/vendor_completions.d/matchmaker.fish"] = function(option)
      return option:gsub("^%%%-%%%-", " %%-l "):gsub("^%%%-", " %%-s ") .. " "
    end,
  }

  for path, written in pairs(files) do
    it("knows every command and every option that there is: " .. path, function()
      local text = shell.read(path)
      for _, command in ipairs(COMMANDS) do
        assert.matches("[ '(|]" .. command .. "[) ':|]", text)
        local help = shell.output(environment .. "matchmaker " .. command .. " --help")
        for option in ("\n  --help\n" .. help):gmatch("\n  (%-%-?%l+)") do
          assert.is_truthy(text:find(written((option:gsub("%-", "%%-")))), command .. option)
        end
      end
    end)
  end
end)

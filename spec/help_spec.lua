-- mm.help, and what print shows: exploring from any Lua, with nothing else at hand.
local support = require "spec.support"
local help = require "matchmaker.help"
local mm = require "matchmaker"

describe("print", function()
  support.guard(before_each, after_each)

  it("shows all prototypes with their docs", function()
    local text = tostring(support.map("pointer").exports)
    assert.matches("\nstruct box *box_new(int value)\n    a box that box_free frees\n", text, 1,
      true)
    assert.matches("\nint box_get(const struct box *box)\nstruct box *box_kept(void)\n    a box",
      text, 1, true)
    assert.matches("int order(const void *base, size_t count, compare_t compare)\n" ..
      "    like qsort\n    second line", tostring(support.map("described").exports), 1, true)
  end)

  it("shows an image in one line, and a function as its prototype", function()
    local image = support.map("math")
    assert.matches("^image math%.mmi %(slot %d+, 27 exports, pages%)$", tostring(image))
    assert.equal("int add(int a, int b)", tostring(image.exports.add))
    assert.equal(image, image.exports.add.image)
  end)
end)

describe("the annotations for editors", function()
  local source = require("spec.shell").read "lua/matchmaker/init.lua"

  local function class(name)
    return source:match("\n%-%-%-@class mm%." .. name .. "[ :\n].-\n\n") or ""
  end

  it("have every function and value of the module", function()
    for name in pairs(mm) do
      local annotated = source:find("\n%-%-%-[^\n]*\nmm%." .. name .. " = ")
        or source:find("\n *%-%-%-[^\n]*\n *function mm%." .. name .. "%(")
      assert.is_truthy(annotated, name)
    end
  end)

  it("have every method of an image, every option, and every fact of an error", function()
    local reference = require("spec.shell").read "docs/reference.md"
    for name in reference:gmatch "image:([%l]+)%(" do
      assert.is_truthy(class "image":find("@field " .. name .. " fun%("), name)
    end
    local options = reference:match "Options of `request_map`.-\n\n(|.-)\n\n"
    for name in options:gmatch "\n| `([%l_]+)" do
      assert.is_truthy(class "options":find("@field " .. name .. "%? "), name)
    end
    local config = reference:match "Fields of the configuration.-\n\n(|.-)\n\n"
    for name in config:gmatch "`([%l_]+) ?=?[^`]*` ?[·|]" do
      assert.is_truthy(class "config":find("@field " .. name .. "%? "), name)
    end
    local err = support.error_of(support.map("crash").exports.read_null)
    for name in pairs(err) do
      assert.is_truthy(class "error":find("@field " .. name .. "%??"), name)
    end
  end)
end)

describe("mm.help", function()
  support.guard(before_each, after_each)

  it("tells of a function its types, its place and whether it may be called", function()
    local text = help.text(support.map("described").exports.mix)
    assert.matches("^color_t %*mix%(", text)
    for _, part in ipairs {
      "  typedef struct { uint8_t red; uint8_t green; uint8_t blue; } color_t;",
      "  union word { uint32_t whole; uint8_t bytes[4]; };",
      "  enum unit { METRE = 1, FOOT = -2 };",
      "  in described.mmi, module described, at 0x", "  may be called; guard `pages`",
    } do assert.matches(part, text, 1, true) end
  end)

  it("tells of an image its facts, types and exports", function()
    local text = help.text(support.map("math"))
    for _, part in ipairs { "math.mmi, 74", " calls, ", "enum color {", "  int add(int a, int b)\n",
                            "      the sum\n" } do
      assert.matches(part, text, 1, true)
    end
  end)

  it("tells of an image that is dead or gone that it is", function()
    local image = assert(mm.map(support.image("crash"), { on_fault = "dead" }))
    pcall(image.exports.read_null)
    assert.matches("dead after a fault, until it is reset", help.text(image))
    assert.matches("not to be called: the image is dead", help.text(image.exports.read_null))
    local read_null = image.exports.read_null
    assert(image:unmap())
    assert.matches("^int read_null%(void%)\n  SIGSEGV, reading 0\n  not to be called: the image " ..
      "is not mapped$", help.text(read_null))
    assert.matches("unmapped", help.text(image))
  end)

  it("tells of a pointer its type, and what that is", function()
    local image = support.map("aggregate")
    local text = help.text(image.exports.wave_here())
    assert.matches("a pointer `struct wave *` into aggregate.mmi\n", text, 1, true)
    assert.matches("\n  struct wave { double _Complex at; struct flags flags; };", text, 1, true)
    assert.matches("\n  struct flags { unsigned int a : 3; int b : 5; ", text, 1, true)
    assert.matches("a pointer `unsigned char *` into", help.text(image:buffer(4)), 1, true)
    local packet = image:new("struct packet")
    assert.matches("  struct __attribute__((packed)) packet { char kind; int length; ",
      help.text(packet), 1, true)
    mm.assert(image:unmap())
    assert.matches("a pointer `struct packet *`", help.text(packet), 1, true)
  end)

  it("tells of an error its facts", function()
    local err = support.error_of(support.map("crash").exports.read_null)
    local text = help.text(err)
    assert.matches("^read_null: SIGSEGV", text)
    for _, part in ipairs { "kind +fault", "signal +SIGSEGV", "address +0x0", "was_reset +true" } do
      assert.matches(part, text)
    end
  end)

  it("tells of the module what it has, and of anything what it is", function()
    for name in help.text(mm):gmatch("mm%.([%a_]+)") do assert.is_not_nil(mm[name], name) end
    assert.equal(help.text(), help.text(mm))
    assert.matches("4\n  number", help.text(4))
    assert.matches("a pointer", help.text(support.map("pointer").exports.box_kept()))
  end)

  it("prints", function()
    local code = [[require("matchmaker").help(require("matchmaker"))]]
    assert.equal(help.text(mm) .. "\n", support.output(code))
  end)
end)

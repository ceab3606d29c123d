-- Policy files: what they allow, what they forbid, and what is wrong in them. docs/policy.md
local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

describe("a policy", function()
  local folder = shell.folders(before_each, after_each)
  support.guard(before_each, after_each)

  local function absolute(name) return shell.output("readlink -f " .. support.image(name)) end
  local function write(text)
    shell.write(folder "policy.yaml", (text:gsub("MATH", absolute "math"):gsub("FOLDER", folder())))
    return folder "policy.yaml"
  end
  local function init(text) return mm.init { policy = write(text) } end
  after_each(function() mm.assert(mm.init {}) end)

  local function refusal(options, name)
    local image, err = mm.map(support.image(name or "math"), options)
    assert.is_nil(image)
    return err.kind .. " " .. err.message:gsub("^[^:]*: ", "", 1)
  end

  it("lets through what a rule allows", function()
    mm.assert(init "rules: [ { images: MATH, grants: output } ]")
    local image = mm.assert(mm.map(support.image "math", { grant = "output" }))
    assert.equal(3, image.exports.add(1, 2))
    image:unmap()
  end)

  it("forbids an image that no rule names, and one that a rule forbids", function()
    mm.assert(init "rules:\n- images: /elsewhere/*.mmi\n- images: MATH\n  forbid: it counts\n")
    local path = folder "policy.yaml"
    assert.equal("policy " .. path .. ":3 forbids to map it: it counts", refusal())
    assert.matches("^policy " .. path .. " has no rule by which user %d+ may map it$",
      refusal({}, "text"))
  end)

  it("knows an image by its file, whatever link leads there", function()
    mm.assert(init "rules: [ { images: MATH, forbid: it counts }, { images: / } ]")
    os.execute(("ln -s %s %s"):format(absolute "math", folder "link.mmi"))
    local image, err = mm.map(folder "link.mmi")
    assert.is_nil(image)
    assert.equal("policy", err.kind)
    mm.assert(mm.map(support.image "text")):unmap()
  end)

  it("takes the first rule for the user", function()
    local id, name, group = shell.output "id -u", shell.output "id -un", shell.output "id -gn"
    for _, user in ipairs { id, name, '"@' .. group .. '"' } do
      mm.assert(init(("rules:\n- { images: /, users: [nobody-at-all, 4000000000] }\n" ..
        "- { images: /, users: %s, forbid: you }\n- { images: / }"):format(user)))
      assert.matches(":3 forbids to map it: you$", refusal())
    end
    mm.assert(init(('rules:\n- { images: /, users: [nobody-at-all, "@no-group", %s-not], ' ..
      'forbid: you }\n- { images: / }'):format(id)))
    mm.assert(mm.map(support.image "math")):unmap()
  end)

  it("is asked after what is wrong with the file, and before needs, limits and slots", function()
    mm.assert(init "rules: [ { images: /nowhere } ]")
    assert.matches("^missing ", refusal({}, "none"))
    assert.matches("^policy ", refusal({}, "need_output"))
    mm.assert(init "rules: [ { images: /, limits: { exports: 1 } } ]")
    assert.matches("^needs ", refusal({}, "need_output"))
  end)

  describe("of exports", function()
    local image
    before_each(function()
      mm.assert(init 'rules:\n- images: MATH\n  exports: [add, "counter_*"]\n')
      image = mm.assert(mm.map(support.image "math"))
    end)
    after_each(function() image:unmap() end)

    it("lets the others be called, and names the rule", function()
      assert.equal(3, image.exports.add(1, 2))
      assert.equal(101, image.exports.counter_next())
      local err = support.error_of(image.exports.add_double, 1, 2)
      assert.equal("policy", err.kind)
      assert.equal("add_double: " .. folder "policy.yaml" .. ":2 does not allow this call",
        err.message)
      assert.equal("policy", support.error_of(mm.request_call, image, "add_double", 1, 2).kind)
      assert.equal("policy", support.error_of(image.call, image, { "add_double", 1, 2 }).kind)
      assert.equal("policy", support.error_of(image.batch, image, "add_double", { { 1, 2 } }).kind)
      assert.equal(3, image.exports.add(1, 2))
    end)

    it("holds for what is mapped until it is unmapped", function()
      mm.assert(init "rules: [ { images: / } ]")
      assert.equal("policy", support.error_of(image.exports.add_double, 1, 2).kind)
      image:reset()
      assert.equal("policy", support.error_of(image.exports.add_double, 1, 2).kind)
      image:unmap()
      image = mm.assert(mm.map(support.image "math"))
      assert.equal(3, image.exports.add_double(1, 2))
    end)
  end)

  it("allows a folder and what lies in it, not what is named like it", function()
    os.execute(("mkdir %s/in %s/in/deep %s/inside"):format(folder(), folder(), folder()))
    mm.assert(init "rules: [ { images: /, read: FOLDER/in } ]")
    for _, name in ipairs { "in", "in/deep" } do
      mm.assert(mm.map(support.image "math", { grant = { read = folder(name) } })):unmap()
    end
    assert.matches("does not allow to grant it: read ",
      refusal { grant = { read = folder "inside" } })
    mm.assert(init "rules: [ { images: /, grants: everything } ]") -- is all of it
    mm.assert(mm.map(support.image "math",
      { grant = { "output", "sockets", write = folder "inside" } })):unmap()
  end)

  it("says what may be granted", function()
    os.execute(("mkdir %s/a %s/a/b %s/c"):format(folder(), folder(), folder()))
    mm.assert(init "rules:\n- { images: /, grants: [output], read: FOLDER/a, write: FOLDER/c }")
    for _, grant in ipairs { { "output" }, { read = folder "a/b" }, { read = folder "a" },
        { write = folder "c", read = folder "c" } } do
      mm.assert(mm.map(support.image "math", { grant = grant })):unmap()
    end
    local start = "policy " .. folder "policy.yaml" .. ":2 does not allow to grant it: "
    assert.equal(start .. "jit, everything", refusal { grant = { "jit", "everything", "output" } })
    assert.equal(start .. "read " .. folder(), refusal { grant = { read = folder() } })
    assert.equal(start .. "write " .. folder "a", refusal { grant = { write = folder "a" } })
    assert.equal(start .. "read " .. folder "a/../c/..", refusal { grant = { read =
      folder "a/../c/.." } })
  end)

  describe("of limits", function()
    local function limit(text, options, name)
      mm.assert(init(text))
      local image, err = mm.map(support.image(name or "math"), options)
      assert.is_nil(image)
      assert.equal("limit", err.kind)
      return (err.message:gsub("^[^:]*: ", "", 1):gsub(folder() .. "/", ""))
    end

    it("tells each of them, and where it is set", function()
      assert.matches("^has 300 exports, over the limit of 7 %(policy.yaml:2%)$",
        limit("limits: { exports: 7 }\nrules: [ { images: / } ]", {}, "many"))
      assert.matches("^spans %d+ bytes, over the limit of 8192 %(policy.yaml:2%)$",
        limit "rules:\n- { images: /, limits: { image_bytes: 8K } }")
      assert.equal("may take 1048576 bytes of memory by policy.yaml:1, not 2097152",
        limit("rules: [ { images: /, limits: { memory: 1M } } ]", { memory = 2 ^ 21 }))
      for _, text in ipairs { "2M", "1M" } do
        local other = text == "1M" and "2M" or "1M"
        assert.equal("may take 1048576 bytes of memory by policy.yaml:2, not 1500000", limit((
          "limits: { memory: %s }\nrules: [ { images: /, limits: { memory: %s } } ]")
          :format(text, other), { memory = 1500000 }))
      end
      assert.equal("its calls may take 500 ms by policy.yaml:1, not 1000",
        limit("rules: [ { images: /, limits: { timeout: 500ms } } ]", { timeout = 1 }))
    end)

    it("counts the images of the process", function()
      mm.assert(init "limits: { images: 1 }\nrules: [ { images: / } ]")
      local image = mm.assert(mm.map(support.image "math"))
      assert.matches("1 images are mapped already, the limit %(.*policy.yaml:2%)$",
        refusal({}, "text"))
      image:unmap()
    end)

    it("holds where the client has no wish", function()
      mm.assert(init "rules: [ { images: /, limits: { timeout: 50ms, memory: 1M } } ]")
      local image = mm.assert(mm.map(support.image "memory"))
      assert.is_true(tonumber(image.exports.exhaust(2 ^ 16)) <= 2 ^ 20)
      local err = support.error_of(image.call, image, { "exhaust", 2 ^ 16, timeout = 1 })
      assert.equal("limit", err.kind)
      assert.matches("50 ms by .*policy.yaml:1, not 1000$", err.message)
      image:unmap()
      image = mm.assert(mm.map(support.image "crash"))
      assert.equal("deadline", support.error_of(image.exports.spin).kind)
      image:unmap()
    end)
  end)

  it("of the environment and of the configuration both have to allow it", function()
    local code = [[
      local mm = require "matchmaker"
      local image, second = ...
      local function try()
        local mapped, err = mm.map(image)
        if mapped then
          print(mapped.exports.add(1, 2))
          err = select(2, pcall(mapped.exports.add_double, 1, 2))
          mapped:unmap()
        end
        print(err.message:match("([^/]*%.yaml:%d+)"))
      end
      try()
      print(mm.init { policy = second })
      try()
      mm.assert(mm.init {})
      try()
    ]]
    local first = shell.write(folder "first.yaml", "rules: [ { images: /, exports: add } ]")
    local second = shell.write(folder "second.yaml", "rules: [ { images: /, forbid: no } ]")
    local command = ("env MATCHMAKER_POLICY=%s %s %s %s"):format(first, shell.lua(code, folder()),
      support.image "math", second)
    assert.equal("3\nfirst.yaml:1\ntrue\nsecond.yaml:1\n3\nfirst.yaml:1", shell.output(command))
  end)

  describe("that is wrong", function()
    local function message(text)
      local fine, err = init(text)
      assert.is_nil(fine)
      assert.equal("policy", err.kind)
      return (err.message:gsub(folder() .. "/", ""))
    end

    it("is an error with its line", function()
      for text, wanted in pairs {
        ["rules:\n- images: /\n  exprots: x"] =
          "policy.yaml:3: there is no `exprots` here, only users, images, exports, grants, read, "
          .. "write, limits and forbid",
        ["rules:\n- images: [/a/../b]"] =
          'policy.yaml:2: `images` holds paths without `//`, `.` and `..`, not "/a/../b"',
        ["rules:\n- images: /a/."] =
          'policy.yaml:2: `images` holds paths without `//`, `.` and `..`, not "/a/."',
        ["rules:\n- images: //a/"] =
          'policy.yaml:2: `images` holds paths without `//`, `.` and `..`, not "//a/"',
        ["rules:\n- images: [a/b]"] = 'policy.yaml:2: `images` holds absolute paths, not "a/b"',
        ["rules:\n- exports: a"] = "policy.yaml:2: a rule names `images`",
        ["rules: 3"] = "policy.yaml:1: `rules` is a list, each of whose items begins with a dash",
        ["limits: { memory: 1M }"] = "policy.yaml:1: a policy has `rules`",
        ["limits:\n  memory: lots\nrules: []"] =
          "policy.yaml:2: `memory` is a whole number above 0, as in `memory: 256M`",
        ["limits:\n  timeout: 3\nrules: []"] =
          "policy.yaml:2: `timeout` is a whole number above 0, as in `timeout: 500ms`",
        ["limits: {images: 0}\nrules: []"] =
          "policy.yaml:1: `images` is a whole number above 0, as in `images: 16`",
        ["limits: {memory: 99999999999999999999T}\nrules: []"] =
          "policy.yaml:1: `memory` is a whole number above 0, as in `memory: 256M`",
        ["limits: {memory: 18446744073709551617}\nrules: []"] = -- 1, and 2 to the 64th
          "policy.yaml:1: `memory` is a whole number above 0, as in `memory: 256M`",
        ["limits: {memory: 20000000T}\nrules: []"] =
          "policy.yaml:1: `memory` is a whole number above 0, as in `memory: 256M`",
        ["rules:\n- images: \"/a\\0b\""] = "policy.yaml:2: `images` is a word or a list of words",
        ["rules:\n- images: /\n  forbid: \"a\\nb\""] =
          "policy.yaml:3: `forbid` says why, in a few words",
        ["rules:\n- images: /\n  forbid: " .. ("a"):rep(201)] =
          "policy.yaml:3: `forbid` says why, in a few words",
        ["rules:\n- images: /\n  limits: { images: 3 }"] =
          "policy.yaml:3: there is no `images` here, only image_bytes, exports, memory and timeout",
        ["rules:\n- images: /\n  grants: [disk]"] =
          'policy.yaml:3: there is no grant "disk", only output, sockets, jit and everything',
        ["rules:\n- images: /\n  images: /x"] = "policy.yaml:3: `images` comes twice",
        ["rules:\n- images: /\n  forbid: []"] = "policy.yaml:3: `forbid` says why, in a few words",
        ["rules:\n- images: {a: b}"] = "policy.yaml:2: `images` is a word or a list of words",
        ["rules: []\n---\nrules: []"] = "policy.yaml:3: a policy is one document",
        ["rules: &a [ *a ]"] = "policy.yaml:1: a rule is written as `key: value` lines",
        [""] = "policy.yaml: says nothing: it has no `rules`",
        ["- a"] = "policy.yaml:1: a policy is written as `key: value` lines",
      } do
        assert.equal(wanted, message(text))
      end
      assert.matches("^policy.yaml:%d: ", message "rules:\n  images: [")
      assert.matches("^policy.yaml:1: ", message "rules: *nothing")
      assert.matches("^policy.yaml:%d+: ", message(("["):rep(20000)))
      assert.matches("^policy.yaml:1: ", message "rules: \0")
    end)

    it("leaves the one before it in force", function()
      mm.assert(init "rules: [ { images: /, forbid: the first } ]")
      message "nonsense"
      assert.matches("the first$", refusal())
    end)

    it("is not believed: others could have written it", function()
      local path = write "rules: [ { images: / } ]"
      os.execute("chmod 666 " .. path)
      local _, err = mm.init { policy = path }
      assert.equal("policy " .. path .. " cannot be the policy: everyone may write to it",
        err.kind .. " " .. err.message)
      _, err = mm.init { policy = folder() }
      assert.equal(folder() .. " cannot be the policy: it is no regular file", err.message)
      os.execute("mkfifo " .. folder "pipe") -- nor is it waited for
      _, err = mm.init { policy = folder "pipe" }
      assert.equal(folder "pipe" .. " cannot be the policy: it is no regular file", err.message)
      _, err = mm.init { policy = folder "none" }
      assert.equal(folder "none" .. " cannot be the policy: No such file or directory", err.message)
      shell.write(path, "#" .. ("x"):rep(2 ^ 16))
      os.execute("chmod 600 " .. path)
      _, err = mm.init { policy = path }
      assert.matches("it is larger than 64 KiB$", err.message)
      if os.execute("chown 12345 " .. path .. " 2>/dev/null") then
        _, err = mm.init { policy = path }
        assert.matches("it belongs to another user$", err.message)
      end
      assert.equal('init: option `policy` is the path of a policy file, got a number',
        support.error_of(mm.init, { policy = 3 }).message)
    end)
  end)

  it("reads as docs/policy.md shows it", function()
    local text = shell.read("docs/policy.md"):match("```yaml\n(.-)```")
    local where = absolute("math"):match("(.*)/")
    text = text:gsub("/usr/lib/matchmaker", where)
    mm.assert(init((text:gsub("alice", shell.output "id -un"))))
    local image = mm.assert(mm.map(support.image "math", { grant = { "output", write = "/tmp" } }))
    assert.equal(3, image.exports.add(1, 2))
    assert.equal(101, image.exports.counter_next())
    assert.matches("policy.yaml:17 does not allow this call$",
      support.error_of(image.exports.add_double, 1, 2).message)
    image:unmap()
    mm.assert(init((text:gsub("alice", "nobody-at-all"):gsub('"@staff"', "nor-she")
      :gsub("/private/", "/"))))
    assert.matches("policy.yaml:14 forbids to map it: only for staff$", refusal())
  end)
end)

local support = require "spec.support"
local shell = require "spec.shell"
local mm = require "matchmaker"

describe("the debug information", function()
  support.guard(before_each, after_each)
  local folder = shell.folders(before_each, after_each)
  local include = shell.root .. "/csrc/include"
  local library = shell.launcher:gsub("[^/]+$", "libmatchmaker-server.a")

  -- Builds a server of the given source, which gets a main that only snapshots.
  local function server(source, flags, name)
    local suffix = name and name:match "%.cc$" or ".c"
    local path = folder "server" .. suffix
    shell.write(path, "#include <matchmaker/server.h>\n#include <stddef.h>\n" .. source ..
      "\nint main(void) { return mm_snapshot(NULL); }\n")
    shell.output(("cd %s && %s -fPIE -pie -O1 -I%s -o server %s %s %s"):format(folder(),
      suffix == ".cc" and "c++" or "cc", include, path, flags or "-g", library))
    return folder "server"
  end

  local function snapshot(words, path)
    return shell.launch(("-o %s %s %s"):format(folder "x.mmi", words, path or folder "server"))
  end

  local function with(use)
    local image = mm.assert(mm.map(folder "x.mmi"))
    use(image.exports, image)
    mm.assert(image:unmap())
  end

  -- The prototypes of the image, sorted, in one text.
  local function prototypes()
    local list = {}
    with(function(exports)
      for _, f in pairs(exports) do list[#list + 1] = f.prototype end
    end)
    table.sort(list)
    return table.concat(list, "; ")
  end

  local function complaint(result)
    assert.equal(1, result.status, result.stderr)
    return result.stderr:match "^matchmaker: ([^\n]+)\n" or result.stderr
  end

  local point = [[
    struct point { double x, y; };
    typedef struct point point_t;
    double length(const point_t *p, int scale) { return p ? p->x * scale : 2.5 * scale; }
    int twice(int x) { return 2 * x; }
    static __attribute__((used)) int hidden(int x) { return x; }
  ]]

  it("gives fifty functions the prototypes that typing them gives", function()
    local function list(name)
      local prototypes_of = {}
      for key, f in pairs(support.map(name).exports) do
        prototypes_of[key] = f.prototype .. (f.doc or "")
      end
      return prototypes_of
    end
    local typed = list "typed"
    assert.same(typed, list "named")
    local count = 0
    for _ in pairs(typed) do count = count + 1 end
    assert(count >= 50, count)
    assert.equal(-7, support.map "named".exports.echo_short(-7))
    assert.equal(5, support.map "named".exports.length "sevel")
  end)

  for _, flags in ipairs { "-g -gdwarf-4", "-g -gdwarf-5", "-g -gdwarf-5 -O2 -flto -rdynamic",
                           "-g -gdwarf-4 -fdebug-types-section", "-g -gz" } do
    it("exports by name: " .. flags, function()
      server(point, flags)
      local result = snapshot "--export length,twice"
      assert.equal(0, result.status, result.stderr)
      assert.equal("double length(const point_t *p, int scale); int twice(int x)", prototypes())
      with(function(exports)
        assert.equal(7.5, exports.length(mm.null, 3))
        assert.equal(42, exports.twice(21))
      end)
    end)
  end

  it("exports what a pattern matches, but for main, the library's and static functions", function()
    server(point)
    assert.equal(0, snapshot("--export '*'").status)
    assert.equal("double length(const point_t *p, int scale); int twice(int x)", prototypes())
    assert.equal(0, snapshot("--export 't*' --export=length").status)
    assert.equal("double length(const point_t *p, int scale); int twice(int x)", prototypes())
    assert.match("`z%*`: it matches no function", complaint(snapshot "--export 'z*'"))
  end)

  it("exports a function of C++, a reference, a class behind a pointer", function()
    server([[
      namespace space { class shape { public: virtual ~shape() {} int sides; }; }
      enum class unit : unsigned char { metre, foot };
      struct pair { int first; static int count; struct deep { char c; } second; int sum() const; };
      int pair::sum() const { return first + second.c; }
      template <typename T> struct box { T value; };
      extern "C" {
        int sides(const space::shape *shape, unit u) { return shape ? shape->sides : int(u); }
        int sum(const pair &p) { return p.sum(); }
        bool is_open(box<int> *box, wchar_t c, char16_t d) { return box && c && d; }
      }
      int sum(int x) { return x; }
      int overloaded(int x) { return x; }
      MM_EXPORT_NAME(overloaded)
    ]], "-g", "x.cc")
    local result = snapshot "--export 'su*,sides,is_open'"
    assert.equal(0, result.status, result.stderr)
    assert.equal("bool is_open(void *box, int c, unsigned short d); int overloaded(int x); " ..
      "int sides(const struct shape *shape, unsigned char u); int sum(const struct pair *p)",
      prototypes())
    with(function(exports) assert.equal(1, exports.sides(mm.null, 1)) end)
  end)

  it("is found by the address of a function, static or not", function()
    server(point .. [[
      __attribute__((constructor)) static void add(void) {
        if (mm_export((void *)hidden, NULL, "kept") || mm_export((void *)twice, NULL, NULL)) return;
      }
    ]])
    assert.equal(0, snapshot("").status)
    assert.equal("int hidden(int x); int twice(int x)", prototypes())
    with(function(exports) assert.equal("kept", exports.hidden.doc) end)
  end)

  local function build_library(flags)
    shell.write(folder "part.c", [[
      struct vector { float x, y, z; };
      static float square(float x) { return x * x; }
      float norm(const struct vector *v) { return v ? square(v->x) : 0.5f; }
      int twice(int x) { return x + x; }
      int thrice(int x) { return 3 * x; }
    ]])
    shell.output(("cd %s && cc %s -shared -fPIC -o libpart.so part.c"):format(folder(), flags))
    return "-g -L. -lpart -Wl,-rpath," .. folder()
  end

  it("of a library is used, the program's own functions first", function()
    server(point .. "int thrice(int); int use(void) { return thrice(1); }", build_library "-g")
    local result = snapshot "--export 'norm,twice,thr*'"
    assert.equal(0, result.status, result.stderr)
    assert.equal("float norm(const struct vector *v); int thrice(int x); int twice(int x)",
      prototypes())
    with(function(exports) assert.equal(0.5, exports.norm(mm.null)) end)
  end)

  it("may lie in a file beside a stripped library", function()
    local flags = build_library "-g"
    shell.output(("cd %s && objcopy --only-keep-debug libpart.so libpart.debug && " ..
      "strip libpart.so && objcopy --add-gnu-debuglink=libpart.debug libpart.so"):format(folder()))
    server("int thrice(int); int use(void) { return thrice(1); }", flags)
    local result = snapshot "--export norm"
    assert.equal(0, result.status, result.stderr)
    assert.equal("float norm(const struct vector *v)", prototypes())
  end)

  it("may be split, and its lack is named", function()
    server(point, "-g -gsplit-dwarf")
    local result = snapshot "--export length"
    assert.equal(0, result.status, result.stderr)
    assert.equal("double length(const point_t *p, int scale)", prototypes())
    shell.output(("rm %s/*.dwo"):format(folder()))
    assert.match("`length`: .*%.dwo files", complaint(snapshot "--export length"))
  end)

  it("keeps opaque what is pointed to and cannot be declared", function()
    server [[
      struct atomic { _Atomic int i; };
      struct holder { struct atomic atomic; };
      struct outer { struct holder *holder; struct atomic *atomic; struct unknown *unknown; };
      int use(struct outer *outer, struct holder *holder) { return !outer && !holder; }
    ]]
    local result = snapshot "--export use"
    assert.equal(0, result.status, result.stderr)
    assert.equal("int use(struct outer *outer, struct holder *holder)", prototypes())
  end)

  it("has the bit-fields, and the array at the end, where the compiler put them", function()
    server [[
      struct flags { unsigned low : 3; int sign : 7; unsigned long wide : 40; char last : 2; };
      struct tail { int count; short items[]; };
      struct gap { unsigned a : 3; unsigned : 5; unsigned b : 3; };
      struct flags next(struct flags f) {
        return (struct flags){f.low + 1, f.sign - 1, f.wide + 1, f.last + 1};
      }
      int first(const struct tail *tail) { return tail->items[0]; }
      int gap(struct gap *gap) { return !gap; }
      int gap_value(struct gap gap) { return gap.b; }
      struct spread { float a; unsigned : 32; float b; };
      float spread(struct spread s) { return s.b; }
    ]]
    local result = snapshot "--export next,first,gap,gap_value,spread"
    assert.equal(0, result.status, result.stderr)
    with(function(exports, image)
      assert.same({ low = 6, sign = -64, wide = 2 ^ 39, last = -1 },
        exports.next { low = 5, sign = -63, wide = 2 ^ 39 - 1, last = -2 })
      local bytes = image:new("char[8]", { 1, 0, 0, 0, 7, 1 })
      assert.equal(263, exports.first(image:cast("struct tail *", bytes)))
      assert.equal(1, exports.gap(mm.null))
      assert.equal(5, exports.gap_value { a = 7, b = 5 })
      -- gcc and clang pass differently what is alone in its eightbyte with bits without a name.
      assert.equal("unsupported", support.error_of(exports.spread, { a = 1, b = 2 }).kind)
    end)
  end)

  it("passes what is packed, and what is aligned otherwise, as the compiler does", function()
    server [[
      struct __attribute__((packed)) tight { char c; int i; double d; };
      struct __attribute__((packed, aligned(4))) half { char c; int i; short s; };
      struct holder { char c; struct tight tight; long after; };
      struct mixed { char c; int i __attribute__((packed)); long l; };
      struct wide { _Alignas(16) long a; long b; };
      typedef int line __attribute__((aligned(64)));
      struct lines { char c; line one; line two; };
      struct __attribute__((packed)) bits { unsigned a : 7; unsigned long b : 41; char c; };
      union __attribute__((packed)) either { long l; char c[9]; };
      struct tight tight(struct tight t) { return (struct tight){t.c + 1, -t.i, t.d / 2}; }
      struct half half(int x, struct half h) { return (struct half){h.c, h.i + x, h.s - x}; }
      long inside(struct holder h) {
        return h.c + h.tight.c + h.tight.i + (long)h.tight.d + h.after;
      }
      struct mixed mixed(struct mixed m) { return (struct mixed){m.c + 1, m.i + 1, m.l + 1}; }
      long wide(long a, long b, long c, long d, long e, struct wide w) {
        return a + b + c + d + e + w.a * w.b;
      }
      int lines(struct lines *l) { return l->one - l->two; }
      struct bits bits(struct bits b) { return (struct bits){b.a - 1, b.b - 1, b.c - 1}; }
      union either kept_here;
      union either either(union either e) {
        e.c[8] = 'x';
        return kept_here = e;
      }
      union either *kept(void) { return &kept_here; }
      struct outer { struct lines lines; struct tight tights[3]; };
      struct outer o = {{1, 2, 3}, {[2] = {4, 5, 6}}};
      struct outer *outer(void) { return &o; }
    ]]
    local result = snapshot "--export tight,half,inside,mixed,wide,lines,bits,either,kept,outer"
    assert.equal(0, result.status, result.stderr)
    with(function(exports, image)
      assert.same({ c = 2, i = -5, d = 1.5 }, exports.tight { c = 1, i = 5, d = 3 })
      assert.same({ c = 1, i = 12, s = -4 }, exports.half(7, { c = 1, i = 5, s = 3 }))
      assert.equal(1111,
        exports.inside { c = 1, tight = { c = 10, i = 400, d = 600 }, after = 100 })
      assert.same({ c = 2, i = 3, l = 4 }, exports.mixed { c = 1, i = 2, l = 3 })
      assert.equal(57, exports.wide(1, 2, 3, 4, 5, { a = 6, b = 7 }))
      assert.equal(-1, exports.lines(exports.outer().lines))
      assert.same({ a = 126, b = 2 ^ 40 - 1, c = 4 }, exports.bits { a = 127, b = 2 ^ 40, c = 5 })
      local either = exports.either { c = { 0, 0, 0, 0, 0, 0, 1 } }
      assert.equal(2 ^ 48, tonumber(either.l))
      local outer = exports.outer()
      assert.same({ 1, 2, 3 }, { outer.lines.c, outer.lines.one, outer.lines.two })
      assert.same({ 4, 5, 6 }, { outer.tights[2].c, outer.tights[2].i, outer.tights[2].d })
      assert.equal("x", image:string(exports.kept().c + 8, 1))
    end)
  end)

  it("says which type a named function cannot have, and leaves it out of a pattern", function()
    server [[
      struct atomic { _Atomic int i; };
      struct holder { struct atomic atomic; };
      int by_value(struct atomic a) { return a.i; }
      int inside(struct holder h) { return h.atomic.i; }
      __int128 huge(void) { return 0; }
      int fine(int x) { return x; }
    ]]
    assert.match("`by_value`.*`struct atomic`.*_Atomic", complaint(snapshot "--export by_value"))
    assert.match("`inside`.*`struct holder`.*_Atomic", complaint(snapshot "--export inside"))
    assert.match("`huge`.*`__int128`", complaint(snapshot "--export huge"))
    local result = snapshot "--export '*'"
    assert.equal(0, result.status, result.stderr)
    assert.equal("int fine(int x)", prototypes())
    for _, name in ipairs { "by_value", "inside", "huge" } do
      assert.match("matchmaker: left out: cannot export `" .. name, result.stderr, 1, true)
    end
  end)

  it("does not mix two units' types of one name", function()
    shell.write(folder "other.c", [[
      struct state { long a; }; typedef long word; struct ahead;
      long other(struct state *s) { return s->a; }
      word other_word(word w) { return w; }
      int ahead(struct ahead *a) { return !a; }
    ]])
    server([[
      struct state { char a; }; typedef char word; struct ahead { int x; };
      int one(struct state *s) { return s->a; }
      word one_word(word w) { return w; }
      int ahead_here(struct ahead *a) { return a->x; }
    ]], "-g other.c")
    assert.match("`other`.*`struct state` is already defined",
      complaint(snapshot "--export one,other"))
    assert.match("`other_word`.*`word` is already something else",
      complaint(snapshot "--export one_word,other_word"))
    for _, names in ipairs { "ahead,ahead_here", "ahead_here,ahead" } do
      local result = snapshot("--export " .. names)
      assert.equal(0, result.status, result.stderr)
    end
  end)

  it("is missed by name", function()
    server(point, "-g0")
    assert.match("`twice`: no function of that name is in .*; is it built with %-g%?",
      complaint(snapshot "--export twice"))
    server(point, "-s")
    assert.match("`twice`: .*server has no debug information; build it with %-g, or use MM_EXPORT",
      complaint(snapshot "--export twice"))
    server(point .. "MM_EXPORT_NAME(twice)", "-g -s")
    assert.match("`twice`: .*server has no debug information", complaint(snapshot ""))
    server(point)
    assert.match("`twise`: no function of that name", complaint(snapshot "--export twise"))
    assert.match("`hidden`: no function of that name", complaint(snapshot "--export hidden"))
    assert.match("twice.* is exported already", complaint(snapshot "--export twice,twice"))
    assert.equal(2, shell.launch("--export").status)
  end)

  it("of two libraries with one function is not guessed between", function()
    local flags = build_library "-g"
    shell.output(("cd %s && cp part.c more.c && cc -g -shared -fPIC -o libmore.so more.c")
      :format(folder()))
    server("int thrice(int); int use(void) { return thrice(1); }",
      flags .. " -Wl,--no-as-needed -lmore")
    assert.match("`norm`: it is in .*lib%w+%.so and in .*lib%w+%.so",
      complaint(snapshot "--export norm"))
  end)

  it("may be damaged: an error then, or an image, and nothing else", function()
    local path = server(point)
    local bytes = shell.read(path)
    local sections = shell.output("readelf -SW " .. path)
    local random = 12345
    local function below(n)
      random = (random * 1103515245 + 12345) % 2147483648
      return math.floor(random / 65536) % n
    end
    for _, name in ipairs { "info", "abbrev", "str", "line_str" } do
      local offset, size = sections:match("%.debug_" .. name .. " +PROGBITS +%x+ (%x+) (%x+)")
      offset, size = tonumber(offset, 16), tonumber(size, 16)
      for _ = 1, 12 do
        local at = offset + below(size) + 1
        local damaged = bytes:sub(1, at - 1) .. string.char(below(256)) .. bytes:sub(at + 1)
        shell.write(path, damaged)
        local result = snapshot "--export '*'"
        assert(result.status == 0 or result.status == 1, result.stderr)
        assert.not_match("crashed", result.stderr)
      end
    end
    shell.write(path, bytes:sub(1, #bytes - 4000)) -- the sections' headers are gone
    assert.match("no debug information", complaint(snapshot "--export twice"))
  end)
end)

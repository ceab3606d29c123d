-- CPython, its modules imported, as an image: a Lua script starts it, and an expression is evaluated
-- without the start.
--   matchmaker snapshot -o python.mmi examples/04_python/server.lua libpython3.11.so
local ffi = require "ffi"
local server = require "matchmaker.server"

ffi.cdef [[
  typedef struct _object PyObject;
  void Py_InitializeEx(int with_signal_handlers);
  int PyRun_SimpleString(const char *code);
  PyObject *PyImport_AddModule(const char *name);
  PyObject *PyObject_GetAttrString(PyObject *, const char *name);
  PyObject *PyObject_CallFunction(PyObject *, const char *format, ...);
  const char *PyUnicode_AsUTF8(PyObject *);
  void Py_DecRef(PyObject *);
]]
local python = ffi.load(arg[1], true)

python.Py_InitializeEx(0)
assert(python.PyRun_SimpleString [[
import json, re, decimal, traceback

def evaluate(text):
    try:
        return "=" + repr(eval(text, globals()))
    except Exception:
        return traceback.format_exc(limit=-1)
]] == 0)
local evaluate = python.PyObject_GetAttrString(python.PyImport_AddModule "__main__", "evaluate")
assert(evaluate ~= nil)

server.export_lua("evaluate", "const char *evaluate(const char *expression)", function(expression)
  local result = python.PyObject_CallFunction(evaluate, "s", expression)
  if result == nil then error("not a text of Python", 0) end
  local text = ffi.string(python.PyUnicode_AsUTF8(result))
  python.Py_DecRef(result)
  if text:sub(1, 1) ~= "=" then error(text, 0) end
  return text:sub(2)
end, "the representation of its value")
server.snapshot()

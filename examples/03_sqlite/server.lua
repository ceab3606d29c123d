-- A dictionary as an SQLite database in memory, filled once and then an image: no C, no file.
--   matchmaker snapshot -o words.mmi examples/03_sqlite/server.lua /usr/share/hunspell/hu_HU.dic
local ffi = require "ffi"
local server = require "matchmaker.server"

ffi.cdef [[
  typedef struct sqlite3 sqlite3;
  typedef struct sqlite3_stmt sqlite3_stmt;
  int sqlite3_open(const char *path, sqlite3 **database);
  const char *sqlite3_errmsg(sqlite3 *database);
  int sqlite3_prepare_v2(sqlite3 *, const char *sql, int bytes, sqlite3_stmt **, const char **rest);
  int sqlite3_bind_text(sqlite3_stmt *, int index, const char *text, int bytes, intptr_t keep);
  int sqlite3_step(sqlite3_stmt *);
  int sqlite3_reset(sqlite3_stmt *);
  int sqlite3_finalize(sqlite3_stmt *);
  int sqlite3_column_count(sqlite3_stmt *);
  const char *sqlite3_column_text(sqlite3_stmt *, int column);
]]
local sqlite = ffi.load "libsqlite3.so.0"
local ROW, DONE, COPY = 100, 101, -1

local place = ffi.new "sqlite3 *[1]"
assert(sqlite.sqlite3_open(":memory:", place) == 0)
local database = place[0]

local function fail() error(ffi.string(sqlite.sqlite3_errmsg(database)), 0) end

local function prepare(sql)
  local statement = ffi.new "sqlite3_stmt *[1]"
  if sqlite.sqlite3_prepare_v2(database, sql, #sql, statement, nil) ~= 0 then fail() end
  if statement[0] == nil then error("there is no statement in the query", 0) end
  return statement[0]
end

local function row(statement)
  local columns = {}
  for i = 1, sqlite.sqlite3_column_count(statement) do
    local text = sqlite.sqlite3_column_text(statement, i - 1)
    columns[i] = text ~= nil and ffi.string(text) or "NULL"
  end
  return table.concat(columns, "\t")
end

-- One line a row, one tab between columns.
local function query(sql)
  local statement, rows = prepare(sql), {}
  local status = sqlite.sqlite3_step(statement)
  while status == ROW do
    rows[#rows + 1] = row(statement)
    status = sqlite.sqlite3_step(statement)
  end
  sqlite.sqlite3_finalize(statement)
  if status ~= DONE then fail() end
  return table.concat(rows, "\n")
end

query "pragma temp_store = memory"
query "create table word (text text, flags text)"
query "begin"
local insert = prepare "insert into word values (?, ?)"
local lines = io.lines(arg[1])
lines() -- the first is their number
for line in lines do
  local text, flags = line:match "^([^/\t]+)/?([^\t]*)"
  if text then
    sqlite.sqlite3_bind_text(insert, 1, text, #text, COPY)
    sqlite.sqlite3_bind_text(insert, 2, flags, #flags, COPY)
    assert(sqlite.sqlite3_step(insert) == DONE and sqlite.sqlite3_reset(insert) == 0)
  end
end
sqlite.sqlite3_finalize(insert)
query "commit"
query "create index word_text on word (text)"
query "analyze"

server.load("libsqlite3.so.0", "const char *sqlite3_libversion(void);")
server.export_lua("query", "const char *query(const char *sql)", query, "one line a row")
server.snapshot()

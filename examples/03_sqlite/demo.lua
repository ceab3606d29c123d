-- Asks the database that is an image. What a query changes, a reset takes back.
--   luajit examples/03_sqlite/demo.lua words.mmi
local mm = require "matchmaker"

local image = mm.assert(mm.map(arg[1] or "words.mmi"))
local query = image.exports.query

print("SQLite " .. image.exports.sqlite3_libversion())
print("words", query "select count(*) from word")
print("longest", query "select text from word order by length(text) desc, text limit 1")
for line in query([[select substr(text, 1, 1) as letter, count(*) from word
                    group by letter order by 2 desc, 1 limit 5]]):gmatch "[^\n]+" do
  print("", line)
end

query "delete from word"
print("deleted", query "select count(*) from word")
mm.assert(image:reset())
print("reset", query "select count(*) from word")
print(select(2, pcall(query, "select nonsense from word")))

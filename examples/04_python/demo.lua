-- Evaluates Python in this process, which has no Python.
--   luajit examples/04_python/demo.lua python.mmi
local mm = require "matchmaker"

local image = mm.assert(mm.map(arg[1] or "python.mmi"))
for _, expression in ipairs {
  "2 ** 200",
  "decimal.Decimal(1) / 7",
  "json.loads('{\"numbers\": [1, 2.5, null]}')['numbers']",
  "re.findall('[a-z]+', 'one 2 three')",
  "1 / 0",
} do
  local ok, value = pcall(image.exports.evaluate, expression)
  print(expression, ok and value or value.message:match "ZeroDivisionError: [%w ]+")
end

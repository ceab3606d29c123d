-- C calls Lua back: a Lua function stands where a parameter is a function pointer.
local mm = require "matchmaker"

local image = mm.assert(mm.map(arg[1] or "sort.mmi"))
local sort = image.exports.sort
local numbers = image:new("int[6]", { 31, 4, 15, 9, 26, 5 })

local function show()
  local list = {}
  for i = 0, #numbers - 1 do list[#list + 1] = numbers[i] end
  print(table.concat(list, " "))
end

-- A plain function lasts for its call. What it is given are pointers: a[0] is what a points to.
local comparisons = 0
sort(numbers, #numbers, function(a, b)
  comparisons = comparisons + 1
  return a[0] - b[0]
end)
show()
assert(comparisons > 5)

-- One that is used again and again is made once.
local descending = image:callback("int (const int *, const int *)", function(a, b)
  return b[0] - a[0]
end)
sort(numbers, #numbers, descending)
show()

-- What it raises comes out of the call that called back; whatever the image was about to do is undone.
local fine, err = pcall(sort, numbers, #numbers, function() error("I cannot compare", 0) end)
print(fine, err.kind, err.cause)
descending:free()

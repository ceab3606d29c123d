-- Bytes in an image's text that change protection key rights, if something jumps to them: WRPKRU, and
-- XRSTOR of memory (Intel SDM vol. 2: 0F 01 EF; 0F AE /5). They may be part of another instruction.
local PATTERNS = { WRPKRU = "\15\1\239", XRSTOR = "\15\174[\40-\47\104-\111\168-\175]" }

local function find(places, segment, text)
  for name, pattern in pairs(PATTERNS) do
    local at = text:find(pattern)
    while at do
      places[#places + 1] =
        { address = segment.low + at - 1, instruction = name, owner = segment.owner }
      at = text:find(pattern, at + 1)
    end
  end
end

---Where they are, in the file of an image.
---@param all mm.facts
---@return table[]? places each with address, instruction and owner
---@return string? why the file cannot be read
local function rights(all)
  local file, why = io.open(all.path, "rb")
  if not file then return nil, why end
  local places = {}
  for _, segment in ipairs(all.segments) do
    if segment.protection:find("x", 1, true) then
      file:seek("set", segment.offset)
      find(places, segment, file:read(segment.file_bytes) or "")
    end
  end
  file:close()
  table.sort(places, function(a, b) return a.address < b.address end)
  return places
end

return rights

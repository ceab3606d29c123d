-- Which pages of an image a call changed, as the kernel's page map says: a page of a private mapping
-- is anonymous once it was written to. Source: Linux, Documentation/admin-guide/mm/pagemap.rst.
local dirty = {}

local PAGE, CHUNK = 4096, 8192

-- Bits 63 (present), 62 (swapped), 61 (of a file, or shared) are in an entry's last byte.
local function is_own(last)
  return last >= 128 and math.floor(last / 32) % 2 == 0 or math.floor(last / 64) % 2 == 1
end

local function scan(map, low, high, own)
  map:seek("set", low / PAGE * 8)
  for first = low, high - PAGE, CHUNK * PAGE do
    local count = math.min(CHUNK, (high - first) / PAGE)
    local entries = map:read(count * 8)
    if not entries then return end
    for i = 1, #entries / 8 do
      if is_own(entries:byte(i * 8)) then own[first + (i - 1) * PAGE] = true end
    end
  end
end

-- Memory without a file shows a page that was only read, too: it is zero then.
local function is_zero(memory, page)
  memory:seek("set", page)
  local bytes = memory:read(PAGE)
  return bytes and not bytes:find("[^%z]")
end

---The pages of an address range that are this process's own, as a set of addresses.
---@param low integer
---@param high integer
---@return table<integer, true>
function dirty.pages(low, high)
  local own, map = {}, assert(io.open("/proc/self/pagemap", "rb"))
  local memory = io.open("/proc/self/mem", "rb")
  for line in io.lines("/proc/self/maps") do
    local from, to, protection, inode = line:match("^(%x+)-(%x+) (%S+) %S+ %S+ (%d+)")
    from, to = tonumber(from, 16), tonumber(to, 16)
    if from >= low and to <= high and protection:find("^r") then
      local found = {}
      scan(map, from, to, found)
      for page in pairs(found) do
        if inode ~= "0" or not (memory and is_zero(memory, page)) then own[page] = true end
      end
    end
  end
  map:close()
  if memory then memory:close() end
  return own
end

---What a function changes in an address range: a list of addresses of pages, ascending. What was
---changed before does not count again, so it wants an image that is fresh.
---@return integer[]
function dirty.by(low, high, f)
  local before, list = dirty.pages(low, high), {}
  f()
  for page in pairs(dirty.pages(low, high)) do
    if not before[page] then list[#list + 1] = page end
  end
  table.sort(list)
  return list
end

return dirty

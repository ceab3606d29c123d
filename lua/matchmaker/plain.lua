-- One line that a terminal shows and does not obey, whatever others wrote into it: control
-- characters, also those beyond ASCII (C1, as UTF-8 has them), become question marks.

---@param text string
---@return string
return function(text) return (text:gsub("%c", "?"):gsub("\194[\128-\159]", "?")) end

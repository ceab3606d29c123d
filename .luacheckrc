-- One source for LuaJIT and Lua 5.1 to 5.4: `max` knows the globals of all of them.
std = "max"
max_line_length = 100
max_comment_line_length = 120
files["spec"] = { std = "max+busted" }

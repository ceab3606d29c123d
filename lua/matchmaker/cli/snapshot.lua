-- `matchmaker snapshot` is the launcher's, which bin/matchmaker starts; here is what it says.
return {
  usage = "snapshot [-o FILE] [--slot N] [--env NAME]... [--export NAME,...] SERVER [ARG...]",
  summary = "Runs a server until it snapshots itself, and keeps its image.",
  help = [[
  -o FILE      the image; without it the server's name and `.mmi`
  --slot N     the place in the arena, 1 to 767; without it chosen by the image's name,
               away from those of the images beside it
  --env NAME   keep one more variable of the environment; all that is in memory is kept
               in the file, so only PATH, HOME, LANG, LC_*, TZ and LD_LIBRARY_PATH are by
               themselves
  --export NAME,...
               export functions by name, as often as wanted: their prototypes and types are
               read from the debug information (-g); 'dict_*' is a pattern
  SERVER       a program, or a script in Lua (NAME.lua) that uses `matchmaker.server`

examples:
  matchmaker snapshot ./dict words.txt
  matchmaker snapshot --export 'spell,dict_*' ./dict words.txt
  matchmaker snapshot -o hu.mmi ./spell_server hu_HU.aff hu_HU.dic]],
}

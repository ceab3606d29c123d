# fish completion for matchmaker: commands, options, images, and the exports of an image.

function __matchmaker_in
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end

# The image of a call, when nothing stands behind it.
function __matchmaker_image
    string match -- '*.mmi' (commandline -opc)[-1]
end

# A call has one image, the others as many as are wanted.
function __matchmaker_wants_image
    __matchmaker_in inspect repl verify describe; and return
    __matchmaker_in call; and not string match -q -- '*.mmi' (commandline -opc)
end

set -l none 'test (count (commandline -opc)) -eq 1'

complete -c matchmaker -f
complete -c matchmaker -n "$none" -a snapshot -d 'Run a server, keep its image'
complete -c matchmaker -n "$none" -a inspect -d 'Say what an image is'
complete -c matchmaker -n "$none" -a call -d 'Call one export'
complete -c matchmaker -n "$none" -a repl -d 'A session'
complete -c matchmaker -n "$none" -a verify -d 'Check whole files'
complete -c matchmaker -n "$none" -a describe -d 'Write a C header or Lua definitions'
complete -c matchmaker -n "$none" -a ps -d 'Say who has what mapped'
complete -c matchmaker -n "$none" -a doctor -d 'Say what this machine offers'
complete -c matchmaker -n "$none" -a help -d 'Say what there is'

complete -c matchmaker -n '__matchmaker_in help' -a 'snapshot inspect call repl verify describe ps doctor'
complete -c matchmaker -l help -d 'Say more'
complete -c matchmaker -n '__matchmaker_in snapshot' -F
complete -c matchmaker -n '__matchmaker_in snapshot' -s o -rF -d 'The image'
complete -c matchmaker -n '__matchmaker_in snapshot' -l slot -x -d 'The place in the arena'
complete -c matchmaker -n '__matchmaker_in snapshot' -l env -x -a '(set -nx)' -d 'Keep a variable'
complete -c matchmaker -n '__matchmaker_in snapshot' -l export -x -d 'Export functions by name'
complete -c matchmaker -n '__matchmaker_in inspect call ps doctor' -l json -d 'As JSON'
complete -c matchmaker -n '__matchmaker_in inspect' -l names -d 'The names of the exports'
complete -c matchmaker -n '__matchmaker_in inspect' -l svg -d 'A drawing'
complete -c matchmaker -n '__matchmaker_in inspect' -l call -x -d 'Mark the pages that a call changes'
complete -c matchmaker -n '__matchmaker_in inspect call repl' -l grant -x -a 'output sockets jit everything read= write=' -d 'What the image may do'
complete -c matchmaker -n '__matchmaker_in call repl' -l guard -x -a 'pages keys open' -d 'How permissions are enforced'
complete -c matchmaker -n '__matchmaker_in call repl' -l timeout -x -d 'End a call that takes longer'
complete -c matchmaker -n '__matchmaker_in verify' -l quiet -d 'Say nothing of what is intact'
complete -c matchmaker -n '__matchmaker_in describe' -l c -d 'A header for C and C++'
complete -c matchmaker -n '__matchmaker_in describe' -l lua -d 'Definitions for LuaLS'
complete -c matchmaker -n __matchmaker_wants_image -k -a '(__fish_complete_suffix .mmi)'
complete -c matchmaker -n '__matchmaker_in call; and __matchmaker_image >/dev/null' -a '(matchmaker inspect --names (__matchmaker_image) 2>/dev/null)'

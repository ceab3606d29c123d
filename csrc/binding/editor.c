/* binding/editor.c - GNU Readline, if it is here, for a session's lines: loaded when it is asked
 * for, through its callback interface, so that Ctrl-C can give a line up. */
#include "binding/binding.h"

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Source: the manual, "Programming with GNU Readline", of which these are the declarations. */
typedef char *generator(const char *text, int state);
static struct {
  void (*install)(const char *prompt, void (*handler)(char *line));
  void (*read_char)(void);
  void (*remove)(void);
  void (*clean_up)(void);
  void (*free_line)(void);
  char **(*matches)(const char *text, generator *next);
  void (*add_history)(const char *line);
  char **line_buffer;
  const char **name;
  char **(**complete)(const char *text, int start, int end);
  int *complete_is_over, *append, *catch_signals;
} editor;

static const struct {
  const char *name;
  void *place;
} wanted[] = {{"rl_callback_handler_install", &editor.install},
              {"rl_callback_read_char", &editor.read_char},
              {"rl_callback_handler_remove", &editor.remove},
              {"rl_callback_sigcleanup", &editor.clean_up},
              {"rl_free_line_state", &editor.free_line},
              {"rl_completion_matches", &editor.matches},
              {"add_history", &editor.add_history},
              {"rl_line_buffer", &editor.line_buffer},
              {"rl_readline_name", &editor.name},
              {"rl_attempted_completion_function", &editor.complete},
              {"rl_attempted_completion_over", &editor.complete_is_over},
              {"rl_completion_append_character", &editor.append},
              {"rl_catch_signals", &editor.catch_signals}};

/* Of the line that is being read; there is one terminal. */
static lua_State *state;
static int candidates; /* index of their list on the stack */
static char *line;
static bool is_done;

static char *next_candidate(const char *text, int number) {
  static int at;
  (void)text;
  at = number ? at + 1 : 1;
  lua_rawgeti(state, candidates, at);
  const char *candidate = lua_tostring(state, -1);
  char *copy = candidate ? strdup(candidate) : NULL; /* readline frees it */
  lua_pop(state, 1);
  return copy;
}

/* complete(line up to the cursor, where the word starts): a list of words, and what follows the
 * only one. */
static char **complete(const char *text, int start, int end) {
  char **matches = NULL;
  int top = lua_gettop(state);
  *editor.complete_is_over = 1; /* no names of files */
  lua_pushvalue(state, 2);
  lua_pushlstring(state, *editor.line_buffer, (size_t)end);
  lua_pushnumber(state, start + 1);
  if (lua_pcall(state, 2, 2, 0) == 0 && lua_type(state, -2) == LUA_TTABLE) {
    const char *follows = lua_tostring(state, -1);
    candidates = lua_gettop(state) - 1;
    matches = editor.matches(text, next_candidate);
    *editor.append = follows ? *follows : 0;
  }
  lua_settop(state, top);
  return matches;
}

/* NULL at the end of input. */
static void take(char *text) {
  line = text;
  is_done = true;
  editor.remove();
}

static bool load(void) {
  static const char *const names[] = {"libreadline.so.8", "libreadline.so.7", "libreadline.so"};
  void *library = NULL;
  for (unsigned i = 0; i < sizeof names / sizeof *names && !library; i++)
    library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
  if (!library) return false;
  for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *found = dlsym(library, wanted[i].name);
    if (!found) return false;
    memcpy(wanted[i].place, &found, sizeof found);
  }
  *editor.name = "matchmaker";
  *editor.complete = complete;
  *editor.catch_signals = 0;
  return true;
}

/* open_editor(): whether there is one. */
static int open_editor(lua_State *L) {
  lua_pushboolean(L, editor.install || load());
  return 1;
}

static void wait_for_key(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  sigset_t set;
  pthread_sigmask(SIG_SETMASK, NULL, &set);
  sigdelset(&set, SIGINT);
  ppoll(&input, 1, NULL, &set);
}

/* The signal is held but where the editor waits: it must not be left in the middle of a key. */
static bool read_line(const char *prompt) {
  sigset_t held, before;
  sigemptyset(&held);
  sigaddset(&held, SIGINT);
  pthread_sigmask(SIG_BLOCK, &held, &before);
  line = NULL;
  is_done = false;
  bool is_given_up = false;
  mm__interrupt_take(true);
  editor.install(prompt, take);
  while (!is_done && !is_given_up) {
    wait_for_key();
    is_given_up = mm__interrupt_came();
    if (!is_given_up) editor.read_char();
  }
  if (is_given_up) {
    fputs("^C\r\n", stdout); /* behind the line: what the editor writes at its end begins a line */
    fflush(stdout);
    editor.free_line();
    editor.clean_up();
    editor.remove();
  }
  mm__interrupt_take(false);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return is_given_up;
}

/* edit_line(prompt, complete): the line; nil at the end of input, false after Ctrl-C, which is
 * shown. */
static int edit_line(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checkstack(L, 20, "completion");
  state = L;
  bool is_given_up = read_line(prompt);
  if (is_given_up)
    lua_pushboolean(L, 0);
  else
    lua_pushstring(L, line);
  free(line);
  return 1;
}

static int remember_line(lua_State *L) {
  editor.add_history(luaL_checkstring(L, 1));
  return 0;
}

void mm__editor_open(lua_State *L) {
  static const luaL_Reg list[] = {{"open_editor", open_editor},
                                  {"edit_line", edit_line},
                                  {"remember_line", remember_line},
                                  {NULL, NULL}};
  lua_pushnil(L);
  lua_insert(L, -2);
  mm__set_functions(L, list);
  lua_remove(L, -2);
}

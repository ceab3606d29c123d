/* launch/main.c - the command: reads options, loads server and interpreter into the slot, and jumps
 * in. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/format.h"
#include "core/host/connect.h"
#include "image/writer.h"
#include "launch/launch.h"

#define FAILED  1
#define MISUSED 2

/* By which the Matchmaker knows this thread. */
static __thread struct mm__anchor anchor __attribute__((tls_model("initial-exec")));

struct options {
  const char *output;
  uint32_t slot; /* 0: chosen by name */
  char **kept;   /* names of variables, ends with NULL */
  char **named;  /* lists of exports, ends with NULL */
  char **server; /* SERVER ARG..., after the interpreter of a script */
  char *name;    /* of the server, or of the script */
};

/* A copy of descriptor 2, out of the way: the server may close that, or put another in its place. */
#define MESSAGES_LOWEST 200
static int messages = 2;

void mm__say(const char *format, ...) {
  char line[4096];
  va_list list;
  int length = snprintf(line, sizeof line, "matchmaker: ");
  va_start(list, format);
  int more = vsnprintf(line + length, sizeof line - (size_t)length - 1, format, list);
  va_end(list);
  length += more < 0 ? 0 : more;
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  mm__format_line(line);
  line[length++] = '\n';
  if (write(messages, line, (size_t)length) >= 0) return;
  if (write(2, line, (size_t)length) < 0) return; /* there is nobody to tell */
}

void mm__say_error(const struct mm_error *error) {
  mm__say("%s", error->message);
  if (!error->column) return;
  mm__say("  %s", error->text);
  mm__say("  %*s", (int)error->caret + 1, "^");
}

static int misuse(const char *format, const char *what) {
  char text[512];
  snprintf(text, sizeof text, format, what);
  mm__say("%s: try `matchmaker snapshot --help`", text);
  return MISUSED;
}

static bool parse_slot(const char *text, uint32_t *slot) {
  char *end;
  errno = 0;
  unsigned long number = strtoul(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || number == 0 ||
      number >= MM__SLOT_COUNT)
    return false;
  *slot = (uint32_t)number;
  return true;
}

/* The value of option `name` ("--slot N", "--slot=N") at argument *i; NULL when it is another
 * option, or has none. */
static const char *value_of(char **arguments, int *i, const char *name) {
  size_t length = strlen(name);
  if (strncmp(arguments[*i], name, length) != 0) return NULL;
  if (arguments[*i][length] == '=' && name[1] == '-') return arguments[*i] + length + 1;
  if (arguments[*i][length] != 0 || !arguments[*i + 1]) return NULL;
  return arguments[++*i];
}

static int parse(char **arguments, struct options *options) {
  const char *value;
  uint32_t kept = 0, named = 0;
  int i = 1;
  for (; arguments[i] && arguments[i][0] == '-' && arguments[i][1] != 0; i++) {
    if (strcmp(arguments[i], "--") == 0) {
      i++;
      break;
    }
    if ((value = value_of(arguments, &i, "-o")) != NULL) {
      if (value[0] == 0) return misuse("-o needs the name of a file%s", "");
      options->output = value;
    } else if ((value = value_of(arguments, &i, "--slot")) != NULL) {
      if (!parse_slot(value, &options->slot))
        return misuse("%s is not a slot: slots are 1 to 767", value);
    } else if ((value = value_of(arguments, &i, "--env")) != NULL) {
      if (value[0] == 0 || strchr(value, '='))
        return misuse("--env takes the name of a variable, not \"%s\"", value);
      options->kept[kept++] = (char *)value;
    } else if ((value = value_of(arguments, &i, "--export")) != NULL) {
      if (value[0] == 0) return misuse("--export takes names of functions%s", "");
      options->named[named++] = (char *)value;
    } else {
      return misuse("%s is not an option, or lacks its value", arguments[i]);
    }
  }
  if (!arguments[i]) return misuse("no server is named%s", "");
  options->server = &arguments[i];
  options->name = arguments[i];
  return 0;
}

static size_t script_length(const char *name) {
  size_t length = strlen(name);
  return length > 4 && strcmp(name + length - 4, ".lua") == 0 ? length - 4 : 0;
}

/* The program of a script is its Lua. False: out of memory. */
static bool add_interpreter(struct options *options, size_t count) {
  const char *lua = getenv("MATCHMAKER_LUA");
  if (script_length(options->name) == 0) return true;
  char **server = calloc(count + 2, sizeof *server);
  if (!server) return false;
  server[0] = (char *)(lua && lua[0] ? lua : "luajit");
  for (size_t i = 0; options->server[i]; i++) server[i + 1] = options->server[i];
  options->server = server;
  return true;
}

/* Where the image goes, as an absolute path: the server may change its folder. */
static char *output_path(const struct options *options) {
  const char *slash = strrchr(options->name, '/');
  char *path = NULL, *folder;
  if (options->output && options->output[0] == '/') return strdup(options->output);
  folder = get_current_dir_name();
  if (!folder) return NULL;
  const char *name = options->output ? options->output : slash ? slash + 1 : options->name;
  size_t length = options->output ? 0 : script_length(name);
  if (asprintf(&path, "%s/%.*s%s", folder, (int)(length ? length : strlen(name)), name,
               options->output ? "" : ".mmi") < 0)
    path = NULL;
  free(folder);
  return path;
}

/* Everything that lies in the slot before the server's first instruction. */
static int load(uint32_t slot, struct mm__program *program, struct mm__program *interpreter,
                struct mm__loaded *loaded, struct mm__serve *serve, struct mm_error *error) {
  uint64_t base = MM__SLOT_BASE(slot);
  int status = mm__slot_reserve(slot, error);
  if (status == MM_OK)
    status = mm__program_load(program, base + MM__PROGRAM_OFFSET, base + MM__HEAP_LIMIT_OFFSET,
                              loaded, error);
  if (status == MM_OK && program->interpreter)
    status = mm__program_load(interpreter, base + MM__MMAP_OFFSET, base + MM__MMAP_LIMIT_OFFSET,
                              loaded, error);
  if (status == MM_OK) status = mm__stack_load(slot, loaded, error);
  const struct mm__program *first = program->interpreter ? interpreter : program;
  serve->slot = slot;
  serve->ranges = loaded->ranges;
  serve->range_count = loaded->count;
  serve->entry = first->bias + first->elf.e_entry;
  serve->heap_low = program->bias + program->high;
  return status;
}

/* Hands this thread over. Returns only when that fails. */
static int serve(struct mm__serve *serve, struct mm_error *error) {
  struct mm__host host = {0};
  const struct mm__core_table *core = mm__connect(error);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  mm__host_defaults(&host);
  host.anchor_offset = (int64_t)((uint64_t)&anchor - (uint64_t)__builtin_thread_pointer());
  int last, status = core->init(&host, &last, error);
  if (status != MM_OK) return status;
  serve->snapshot = mm__snapshot_taken;
  serve->ended = mm__server_ended;
  return core->serve(serve, error);
}

static int launch(const struct options *options, struct mm_error *error) {
  static struct mm__loaded
      loaded; /* the Matchmaker and the callbacks may look at these until the end */
  static struct mm__serve serving;
  struct mm__program program, interpreter = {.descriptor = -1};
  int status = mm__program_open(&program, options->server[0], false, error);
  if (status != MM_OK) return status;
  char *output = output_path(options);
  if (!output) {
    status = mm__fail_system(error, MM_ERROR_SYSTEM, errno, "cannot tell the path of the image");
    goto fail;
  }
  /* Told before the server prepares for long; what it names itself, when it is written. */
  if (options->output && (status = mm__image_file_place(output, error)) != MM_OK) goto fail;
  if (program.interpreter &&
      (status = mm__program_open(&interpreter, program.interpreter, true, error)) != MM_OK)
    goto fail;
  uint32_t slot = options->slot ? options->slot : mm__slot_choose(output);
  if ((status = load(slot, &program, &interpreter, &loaded, &serving, error)) != MM_OK) goto fail;
  struct mm__start start = {&program, program.interpreter ? &interpreter : NULL, options->server,
                            options->kept, MM__SLOT_BASE(slot) + MM__STACK_HIGH_OFFSET};
  if ((status = mm__stack_build(&start, &serving.stack_pointer, error)) != MM_OK) goto fail;
  mm__snapshot_prepare(options->name, output, options->named);
  mm__program_close(&interpreter);
  mm__program_close(&program);
  status = serve(&serving, error);
  free(output);
  return status;
fail:
  mm__program_close(&interpreter);
  mm__program_close(&program);
  free(output);
  return status;
}

/* Returns only when the server is not started, or ends without an image. */
static int run(struct options *options, size_t count) {
  struct mm_error error = {0};
  char **given = options->server;
  signal(SIGXFSZ, SIG_IGN); /* an image over RLIMIT_FSIZE fails with EFBIG, its file is removed */
  int copy = fcntl(2, F_DUPFD_CLOEXEC, MESSAGES_LOWEST);
  if (copy >= 0) messages = copy;
  mm__descriptors_remember();
  if (add_interpreter(options, count))
    launch(options, &error);
  else
    mm__fail(&error, MM_ERROR_MEMORY, "out of memory");
  if (options->server != given) free(options->server);
  mm__say_error(&error);
  return FAILED;
}

int main(int count, char **arguments) {
  struct options options = {0};
  int status = FAILED;
  options.kept = calloc((size_t)count + 1, sizeof *options.kept);
  options.named = calloc((size_t)count + 1, sizeof *options.named);
  if (!options.kept || !options.named)
    mm__say("out of memory");
  else if ((status = parse(arguments, &options)) == 0)
    status = run(&options, (size_t)count);
  free(options.named);
  free(options.kept);
  return status;
}

/* client/fault.c - the facts of a fault, completed for people: where it was, and one line that says
 * it all. */
#include "base/error.h"
#include "base/format.h"
#include "client/client.h"

#include <stdio.h>
#include <string.h>

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static void find_module(const struct mm__head *head, struct mm_error *error) {
  for (uint32_t i = 0; i < head->module_count; i++) {
    const struct mm__module *module = &head->modules[i];
    if (error->instruction < module->low || error->instruction >= module->high) continue;
    snprintf(error->module, sizeof error->module, "%s",
             file_name(head->module_strings + module->path));
  }
}

static void find_symbol(struct mm_image *image, const struct mm__head *head,
                        struct mm_error *error) {
  pthread_mutex_lock(&image->lock);
  if (!image->symbols) image->symbols = mm__symbols_read(image->path, head);
  const char *name =
      image->symbols ? mm__symbols_name(image->symbols, error->instruction, &error->offset) : NULL;
  if (name) snprintf(error->symbol, sizeof error->symbol, "%s", name);
  pthread_mutex_unlock(&image->lock);
}

static void find_place(struct mm_image *image, struct mm_error *error) {
  const struct mm__core_table *core = mm__core(NULL);
  const struct mm__head *head;
  if (!core || core->head(image->slot, image->serial, &head, NULL) != MM_OK) return;
  find_module(head, error);
  find_symbol(image, head, error);
}

/* A call whose turn did not come in time leaves the image as it is. */
static bool is_dead(const struct mm_image *image) {
  const struct mm__core_table *core = mm__core(NULL);
  struct mm_image_info info;
  return image && core && core->list(image->slot, &info, NULL) == MM_OK && info.dead;
}

/* "crash: SIGSEGV writing 0x0 in crash+0x4 (server); the image was reset" */
void mm__fault_explain(struct mm_image *image, struct mm_error *error) {
  char what[sizeof error->message], place[300] = "";
  bool ended = mm__ends_call(error->status);
  bool fault = ended && error->status != MM_ERROR_EXIT && error->status != MM_ERROR_SERVER &&
               (error->status == MM_ERROR_FAULT || error->instruction);
  if (image && ended) find_place(image, error);
  if (fault && error->symbol[0])
    snprintf(place, sizeof place, " in %s+0x%lx%s%s%s", error->symbol, error->offset,
             error->module[0] ? " (" : "", error->module, error->module[0] ? ")" : "");
  else if (fault)
    snprintf(place, sizeof place, " at 0x%lx%s%s", error->instruction,
             error->module[0] ? " in " : "", error->module);
  memcpy(what, error->message, sizeof what);
  const char *after = !ended             ? ""
                      : error->was_reset ? "; the image was reset"
                      : is_dead(image)   ? "; the image is dead"
                                         : "";
  snprintf(error->message, sizeof error->message, "%s%s%.511s%s%s", error->export_name,
           error->export_name[0] ? ": " : "", what, place, after);
  mm__format_line(error->message); /* symbols and modules are called as their image likes */
}

int mm_take_fault(struct mm_error *error) {
  struct mm_error ours;
  const struct mm__core_table *core = mm__core(error);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  int status = core->outcome(error ? error : &ours);
  if (status != MM_OK && error) mm__fault_explain(mm__image_in_slot(error->slot), error);
  return status;
}

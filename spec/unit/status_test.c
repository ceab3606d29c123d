/* unit/status_test.c - the statuses that the header promises of its functions: before mm_init, for a
 * pointer that is not given, for an image that is gone. Usage: status_test FOLDER */
#include "client.h"

static struct mm_error error;
static struct mm_image *image;
static struct mm_function *function, *adding;
static struct mm_callback *callback;
static struct mm_image_info info;
static struct mm_refusal refusal;
static void *memory;
static int number;

static void twice(void *result, void **args, void *user) {
  (void)user;
  *(int *)result = 2 * *(int *)args[0];
}

/* Every function that takes an image which is there. */
static void all_answer(int status) {
  CHECK_EQUAL(status, mm_bind(image, "counter_next", NULL, &function, &error));
  CHECK_EQUAL(status, mm_allocate(image, 8, &memory, &error));
  CHECK_EQUAL(status, mm_free(image, &number, &error));
  CHECK_EQUAL(status, mm_read(image, &number, &number, 4, &error));
  CHECK_EQUAL(status, mm_write(image, &number, &number, 4, &error));
  CHECK_EQUAL(status, mm_callback(image, "int (int)", twice, NULL, &callback, &error));
  CHECK_EQUAL(status, mm_reset(image, &error));
  CHECK_EQUAL(status, mm_unmap(image, &error));
  CHECK_EQUAL(status, mm_image_info(image, &info, &error));
  CHECK_EQUAL(status, mm_image_refused(image, 0, &refusal, &error));
}

/* All but the list of clients. */
static void without_a_connection(void) {
  struct mm_client *clients;
  uint32_t count;
  CHECK_EQUAL(MM_OK, mm_clients(&clients, &count, &error));
  mm_clients_free(clients, count);
  CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_request_map("x", NULL, &image, &error));
  CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_mapped(0, &info, &error));
  CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_take_fault(&error));
  CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_lockdown(&error));
  CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_finalize(&error));
}

static void without_a_pointer(void) {
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_map("x", NULL, NULL, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_map(NULL, NULL, &image, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_mapped(0, NULL, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_clients(NULL, NULL, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_call(NULL, NULL, NULL, &error));
  struct mm_image *mapped = image;
  image = NULL;
  all_answer(MM_ERROR_NULL);
  image = mapped;
  CHECK_EQUAL(MM_ERROR_NULL, mm_bind(image, NULL, NULL, &function, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_bind(image, "counter_next", NULL, NULL, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_call(adding, &number, NULL, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_call(adding, &number, (void *[]){&number, NULL}, &error));
  CHECK_EQUAL(2, error.argument);
  CHECK_EQUAL(MM_ERROR_NULL, mm_allocate(image, 8, NULL, &error));
  CHECK_EQUAL(MM_OK, mm_free(image, NULL, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_read(image, &number, NULL, 4, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_write(image, &number, NULL, 4, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_callback(image, "int (int)", NULL, NULL, &callback, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_callback(image, NULL, twice, NULL, &callback, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_image_info(image, NULL, &error));
  CHECK_EQUAL(MM_ERROR_NULL, mm_image_refused(image, 0, NULL, &error));
  mm_callback_release(NULL);
  mm_image_release(NULL);
  mm_clients_free(NULL, 0);
}

static void without_room_for_a_result(void) {
  CHECK_EQUAL(MM_OK, mm_request_call(adding, NULL, (void *[]){&number, &number}, &error));
  struct mm_image *other = map_image("aggregate");
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(other, "chain"), NULL, NULL, &error));
  mm_image_release(other);
}

static void past_the_end(void) {
  CHECK_EQUAL(MM_OK, mm_mapped(0, &info, &error));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_mapped(1, &info, &error));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_image_refused(image, 0, &refusal, &error));
  uint32_t count = mm_export_count(image);
  CHECK(count > 0 && mm_export_name(image, count - 1));
  CHECK(!mm_export_name(image, count) && !mm_export_prototype(image, count));
  CHECK(!mm_export_doc(image, count));
  CHECK_EQUAL(0, strcmp("exit", mm_error_kind(MM_ERROR_EXIT)));
  CHECK(mm_error_text(12345) && mm_error_kind(12345));
}

static void of_hooks_that_crash(void) {
  char path[640];
  struct mm_image *none = NULL;
  snprintf(path, sizeof path, "%s/image/hook_crash_map.mmi", build_folder);
  CHECK_EQUAL(MM_ERROR_FAULT, mm_request_map(path, NULL, &none, &error));
  CHECK(none == NULL);
}

static void of_options_that_make_no_sense(void) {
  static const struct mm_map_options wrong[] = {{.guard = MM_GUARD_KEYS + 1},
                                                {.guard = MM_GUARD_OPEN, .sealed = 1},
                                                {.grants = MM_GRANT_FILES},
                                                {.grants = 0x100000}};
  char path[640];
  struct mm_image *none = NULL;
  snprintf(path, sizeof path, "%s/image/text.mmi", build_folder);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_request_map(path, &wrong[i], &none, &error));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_request_map("", NULL, &none, &error));
  CHECK(strcmp(error.message, "no path was given") == 0);
  struct mm_config configs[] = {{.signals = MM_SIGNALS_MASK + 1},
                                {.interrupt = MM_INTERRUPT_WAIT + 1},
                                {.look = MM_LOOK_ALWAYS + 1},
                                {.without = 0x100}};
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
    CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_init(&configs[i], &error));
}

/* Each name may be two: as it is given, and without links. */
static void of_more_folders_than_there_is_room_for(void) {
  struct mm_grant_files files[66];
  char path[640];
  struct mm_image *text = NULL;
  snprintf(path, sizeof path, "%s/image/text.mmi", build_folder);
  for (int i = 0; i < 66; i++) files[i] = (struct mm_grant_files){"/", MM_FILES_READ};
  for (uint32_t count = 64; count <= 66; count++) {
    struct mm_map_options options = {.files = files, .file_count = count};
    int status = mm_request_map(path, &options, &text, &error);
    CHECK_EQUAL(count > 64 ? MM_ERROR_LIMIT : MM_OK, status);
    if (status == MM_OK)
      mm_image_release(text);
    else
      CHECK(strstr(error.message, "folders are granted, over the limit of 64"));
  }
}

/* The function that was bound before is called, too. */
static void of_an_image_that_is_gone(int status) {
  all_answer(status);
  CHECK_EQUAL(status, mm_request_call(function, &number, NULL, &error));
}

int main(int count, char **arguments) {
  find_folders(count, arguments);
  limit_time();
  RUN(without_a_connection);
  connect_client();
  image = map_image("math");
  function = function_of(image, "counter_next");
  adding = function_of(image, "add");
  RUN(without_a_pointer);
  RUN(without_room_for_a_result);
  RUN(past_the_end);
  RUN(of_hooks_that_crash);
  RUN(of_options_that_make_no_sense);
  RUN(of_more_folders_than_there_is_room_for);
  must(mm_unmap(image, &error), &error);
  RUN(of_an_image_that_is_gone, MM_ERROR_UNMAPPED);
  must(mm_finalize(&error), &error);
  RUN(of_an_image_that_is_gone, MM_ERROR_NOT_CONNECTED);
  mm_image_release(image);
  printf("# %d checks, %d failures\n", checks, failures);
  return failures != 0;
}

/* binding/clients.c - the list of all clients, as Lua tables. */
#include "binding/binding.h"

/* Collected when building the tables runs out of memory. */
struct list {
  const char *tag;
  struct mm_client *clients;
  uint32_t count;
};

static int collect(lua_State *L) {
  struct list *list = mm__object_at(L, 1, MM__CLIENT_LIST, sizeof *list);
  if (!list) return 0;
  mm_clients_free(list->clients, list->count);
  list->clients = NULL;
  list->count = 0;
  return 0;
}

static void set_true(lua_State *L, const char *field, bool is_true) {
  if (!is_true) return;
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, field);
}

static void push_image(lua_State *L, const struct mm_client_image *image) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, image->path);
  lua_setfield(L, -2, "path");
  lua_pushstring(L, mm__guard_text(image->guard));
  lua_setfield(L, -2, "guard");
  mm__set_number(L, "slot", image->slot);
  mm__set_number(L, "mapped_bytes", image->mapped_bytes);
}

static void push_client(lua_State *L, const struct mm_client *client) {
  lua_createtable(L, 0, 7);
  mm__set_number(L, "pid", (uint64_t)client->pid);
  mm__set_number(L, "user", client->user);
  mm__set_number(L, "started", (uint64_t)client->started);
  lua_pushstring(L, client->command);
  lua_setfield(L, -2, "command");
  set_true(L, "is_self", client->is_self != 0);
  set_true(L, "is_foreign", client->is_foreign != 0);
  lua_createtable(L, (int)client->image_count, 0);
  for (uint32_t i = 0; i < client->image_count; i++) {
    push_image(L, &client->images[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "images");
}

int mm__clients(lua_State *L) {
  struct mm_error error;
  luaL_checkstack(L, 8, "a list of clients");
  struct list *list = mm__object_new(L, MM__CLIENT_LIST, sizeof *list);
  list->clients = NULL;
  list->count = 0;
  if (mm_clients(&list->clients, &list->count, &error) != MM_OK) return mm__error_return(L, &error);
  lua_createtable(L, (int)list->count, 1);
  for (uint32_t i = 0; i < list->count; i++) {
    push_client(L, &list->clients[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  if (mm_clients_lack(&error) != MM_OK) {
    mm__error_push(L, &error);
    lua_setfield(L, -2, "lack");
  }
  return 1;
}

void mm__clients_open(lua_State *L) {
  mm__push_metatable(L, MM__CLIENT_LIST);
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

/*
 * The floor under Antipode's figures: the bare PKCS#11 calls that replication cannot do without, and nothing else. No
 * manifest, no digest, no check of what comes back, no journal, no second process. What Antipode costs is measured beside it.
 *
 *   floor MODULE TOKEN-LABEL PIN-FILE PLAN inventory PASSES WRAPS
 *   floor MODULE TOKEN-LABEL PIN-FILE PLAN source FILE
 *   floor MODULE TOKEN-LABEL PIN-FILE PLAN target FILE
 *
 * PLAN names the attributes of each class of objects, written from the product's own table (floor.ts), so that both read and
 * set the same. FILE carries templates and blobs from source to target. Both wrap under a key of known value: this program
 * protects nothing, and is for tokens of a measurement only. Starting the module and logging in is not timed.
 *
 * Layout: LP64, CK_ULONG of 8 bytes, structures naturally aligned (PKCS#11 3.0 base, section 2.1). Declarations of our own.
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long Ulong;
typedef struct { Ulong type; void *value; Ulong length; } Attribute;
typedef struct { Ulong type; void *parameter; Ulong length; } Mechanism;

enum { CLASS = 0x000, TOKEN = 0x001, PRIVATE = 0x002, LABEL = 0x003, VALUE = 0x011, KEY_TYPE = 0x100, ID = 0x102, SENSITIVE = 0x103,
       WRAP = 0x106, UNWRAP = 0x107, SIGN = 0x108, EXTRACTABLE = 0x162 };
enum { PUBLIC_KEY = 2, PRIVATE_KEY = 3, SECRET_KEY = 4 };
enum { RSA = 0x00, EC = 0x03, AES = 0x1f };
enum { SHA256_RSA_PKCS = 0x0040, ECDSA = 0x1041, AES_KEY_WRAP_PAD = 0x210a };
static const Ulong UNAVAILABLE = ~0ul;

/* Places in CK_FUNCTION_LIST (pkcs11f.h), behind the version. */
static void **calls;
#define CALL(index, ...) ((Ulong (*)())calls[(index) + 1])(__VA_ARGS__)
enum { C_Initialize = 0, C_Finalize = 1, C_GetSlotList = 4, C_GetTokenInfo = 6, C_OpenSession = 12, C_Login = 18, C_CreateObject = 20,
       C_GetAttributeValue = 24, C_FindObjectsInit = 26, C_FindObjects = 27, C_FindObjectsFinal = 28, C_SignInit = 42, C_Sign = 43,
       C_VerifyInit = 48, C_Verify = 49, C_WrapKey = 60, C_UnwrapKey = 61 };

static Ulong session;

static void fail(const char *what, Ulong value) {
  fprintf(stderr, "floor: %s: 0x%lx\n", what, value);
  exit(1);
}

static void check(Ulong returned, const char *what) {
  if (returned != 0) fail(what, returned);
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static void *room(size_t bytes) {
  void *memory = calloc(1, bytes == 0 ? 1 : bytes);
  if (memory == NULL) fail("no memory for", bytes);
  return memory;
}

/* --- the plan: `class type marks` a line; r read, t in a template, p and m behind the others, c also when empty, 1 forced true --- */

enum { PLANNED_MAX = 64, CLASSES = 5, ROOM = 640 };
typedef struct { Ulong type; char marks[8]; } Planned;
static Planned plan[CLASSES][PLANNED_MAX];
static int planned[CLASSES];

static int marked(const Planned *one, char mark) { return strchr(one->marks, mark) != NULL; }

static void read_plan(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) fail(path, 0);
  Ulong class, type;
  char marks[8];
  while (fscanf(file, "%lu %lx %7s", &class, &type, marks) == 3) {
    if (class >= CLASSES || planned[class] == PLANNED_MAX) fail("plan", class);
    Planned *one = &plan[class][planned[class]++];
    one->type = type;
    strcpy(one->marks, marks);
  }
  fclose(file);
}

/* --- a session --- */

static void open_token(const char *module, const char *label, const char *pin_file) {
  void *library = dlopen(module, RTLD_NOW);
  if (library == NULL) fail(dlerror(), 0);
  Ulong (*list)(void ***) = (Ulong (*)(void ***))dlsym(library, "C_GetFunctionList");
  if (list == NULL) fail("C_GetFunctionList", 0);
  check(list(&calls), "C_GetFunctionList");
  check(CALL(C_Initialize, NULL), "C_Initialize");

  char pin[128] = {0};
  FILE *file = fopen(pin_file, "r");
  if (file == NULL || fgets(pin, sizeof pin, file) == NULL) fail(pin_file, 0);
  fclose(file);
  pin[strcspn(pin, "\r\n")] = 0;

  Ulong slots[64], count = 64;
  check(CALL(C_GetSlotList, 1, slots, &count), "C_GetSlotList");
  for (Ulong at = 0; at < count; at++) {
    char info[256] = {0};
    check(CALL(C_GetTokenInfo, slots[at], info), "C_GetTokenInfo");
    size_t length = strlen(label);
    if (strncmp(info, label, length) != 0 || (length < 32 && info[length] != ' ')) continue;
    check(CALL(C_OpenSession, slots[at], 6ul, NULL, NULL, &session), "C_OpenSession");
    check(CALL(C_Login, session, 1ul, pin, (Ulong)strlen(pin)), "C_Login");
    return;
  }
  fail("no token has the label", count);
}

static Ulong wrapping_key(void) {
  Ulong class = SECRET_KEY, type = AES, handle;
  unsigned char yes = 1, no = 0, value[32];
  memset(value, 0x5a, sizeof value);
  Attribute template[] = {{CLASS, &class, 8}, {KEY_TYPE, &type, 8}, {TOKEN, &no, 1}, {PRIVATE, &yes, 1},
                          {WRAP, &yes, 1}, {UNWRAP, &yes, 1}, {VALUE, value, sizeof value}};
  check(CALL(C_CreateObject, session, template, 7ul, &handle), "C_CreateObject");
  return handle;
}

static Ulong find_all(Ulong **handles) {
  static Ulong found[1024];
  unsigned char yes = 1;
  Attribute template[] = {{TOKEN, &yes, 1}};
  Ulong count, total = 0, capacity = 1024;
  *handles = room(capacity * sizeof(Ulong));
  check(CALL(C_FindObjectsInit, session, template, 1ul), "C_FindObjectsInit");
  do {
    check(CALL(C_FindObjects, session, found, 1024ul, &count), "C_FindObjects");
    if (total + count > capacity) {
      capacity = (total + count) * 2;
      *handles = realloc(*handles, capacity * sizeof(Ulong));
      if (*handles == NULL) fail("no memory for", capacity);
    }
    memcpy(*handles + total, found, count * sizeof(Ulong));
    total += count;
  } while (count == 1024);
  check(CALL(C_FindObjectsFinal, session), "C_FindObjectsFinal");
  return total;
}

static Ulong class_of(Ulong handle, Ulong *key_type) {
  Ulong class = UNAVAILABLE;
  Attribute kinds[] = {{CLASS, &class, 8}, {KEY_TYPE, key_type, 8}};
  CALL(C_GetAttributeValue, session, handle, kinds, 2ul);
  return class;
}

/* Reads everything that the plan names for a class, in one call. The values stay valid until the next one. */
static Attribute *read_planned(Ulong handle, Ulong class) {
  static Attribute values[PLANNED_MAX];
  static unsigned char bytes[PLANNED_MAX][ROOM];
  for (int at = 0; at < planned[class]; at++) values[at] = (Attribute){plan[class][at].type, bytes[at], ROOM};
  CALL(C_GetAttributeValue, session, handle, values, (Ulong)planned[class]);
  return values;
}

/* --- what is measured --- */

static void inventory(int passes, int wraps) {
  Ulong *handles, *now, type = 0;
  Ulong count = find_all(&handles);
  Ulong *classes = room(count * sizeof(Ulong));
  Ulong sample = 0;
  for (Ulong at = 0; at < count; at++) {
    classes[at] = class_of(handles[at], &type);
    if (classes[at] >= CLASSES) continue;
    Attribute *values = read_planned(handles[at], classes[at]);
    for (int one = 0; one < planned[classes[at]]; one++)
      if (values[one].type == EXTRACTABLE && values[one].length == 1 && *(char *)values[one].value) sample = handles[at];
  }
  printf("{\"objects\":%lu,\"passes\":[", count);
  for (int pass = 0; pass < passes; pass++) {
    double start = now_ms();
    if (find_all(&now) != count) fail("the token has changed", count);
    double found = now_ms();
    /* An object keeps its class, so one call tells whether it has changed. */
    for (Ulong at = 0; at < count; at++)
      if (classes[at] < CLASSES) read_planned(now[at], classes[at]);
    printf("%s{\"findMs\":%.3f,\"readMs\":%.3f}", pass == 0 ? "" : ",", found - start, now_ms() - found);
    free(now);
  }
  Mechanism how = {AES_KEY_WRAP_PAD, NULL, 0};
  Ulong key = wrapping_key();
  double start = now_ms();
  for (int wrap = 0; wrap < wraps && sample != 0; wrap++) {
    unsigned char blob[4096];
    Ulong length = sizeof blob;
    check(CALL(C_WrapKey, session, &how, key, sample, blob, &length), "C_WrapKey");
  }
  printf("],\"wrapUs\":%.1f}\n", wraps == 0 ? 0 : (now_ms() - start) * 1e3 / wraps);
}

static void put(FILE *file, Ulong number) { fwrite(&number, 8, 1, file); }

static void put_attribute(FILE *file, Ulong type, const void *value, Ulong length) {
  put(file, type);
  put(file, length);
  fwrite(value, 1, length, file);
}

static int wanted(const Planned *rule, const Attribute *value) {
  return marked(rule, 't') && value->length != UNAVAILABLE && (value->length > 0 || marked(rule, 'c'));
}

static int is_ours(Ulong class, const Attribute *values) {
  for (int at = 0; at < planned[class]; at++)
    if (values[at].type == LABEL && values[at].length != UNAVAILABLE && values[at].length >= 9)
      return memcmp(values[at].value, "antipode ", 9) == 0;
  return 0;
}

/* Attributes are read, kept, and written down behind the clock. */
typedef struct { Ulong handle, class, key_type; int is_extractable; Attribute *values; unsigned char *blob; Ulong length; } Object;

static void source(const char *path) {
  Ulong *handles, count, objects_made = 0;
  count = find_all(&handles); /* A module reads its files at the first search: not timed, for a running agent has done it. */
  free(handles);
  Ulong key = wrapping_key();
  Mechanism how = {AES_KEY_WRAP_PAD, NULL, 0};

  double start = now_ms();
  count = find_all(&handles);
  double found = now_ms();
  Object *objects = room(count * sizeof(Object));
  for (Ulong at = 0; at < count; at++) {
    Object *one = &objects[at];
    one->handle = handles[at];
    one->class = class_of(one->handle, &one->key_type);
    if (one->class >= CLASSES) continue;
    Attribute *values = read_planned(one->handle, one->class);
    if (is_ours(one->class, values)) {
      one->class = CLASSES;
      continue;
    }
    one->values = room(planned[one->class] * sizeof(Attribute));
    memcpy(one->values, values, planned[one->class] * sizeof(Attribute));
    for (int value = 0; value < planned[one->class]; value++) {
      Attribute *copy = &one->values[value];
      if (copy->length == UNAVAILABLE) continue;
      if (copy->type == EXTRACTABLE && copy->length == 1) one->is_extractable = *(char *)copy->value;
      copy->value = memcpy(room(copy->length), values[value].value, copy->length);
    }
  }
  double read = now_ms();
  for (Ulong at = 0; at < count; at++) {
    Object *one = &objects[at];
    if (one->class != PRIVATE_KEY && one->class != SECRET_KEY) continue;
    if (!one->is_extractable) {
      one->class = CLASSES;
      continue;
    }
    unsigned char blob[4096];
    one->length = sizeof blob;
    check(CALL(C_WrapKey, session, &how, key, one->handle, blob, &one->length), "C_WrapKey");
    one->blob = memcpy(room(one->length), blob, one->length);
  }
  double wrapped = now_ms();

  FILE *file = fopen(path, "w");
  if (file == NULL) fail(path, 0);
  for (Ulong at = 0; at < count; at++) {
    Object *one = &objects[at];
    if (one->class >= CLASSES) continue;
    Planned *rules = plan[one->class];
    unsigned char yes = 1;
    Ulong attributes = 3;
    for (int value = 0; value < planned[one->class]; value++) attributes += wanted(&rules[value], &one->values[value]);
    put(file, one->class);
    put(file, one->key_type);
    put(file, attributes);
    put_attribute(file, CLASS, &one->class, 8);
    put_attribute(file, KEY_TYPE, &one->key_type, 8);
    put_attribute(file, TOKEN, &yes, 1);
    /* What forbids later steps comes behind the others, CKA_MODIFIABLE at the very end. */
    for (int turn = 0; turn < 3; turn++)
      for (int value = 0; value < planned[one->class]; value++) {
        int place = marked(&rules[value], 'm') ? 2 : marked(&rules[value], 'p') ? 1 : 0;
        if (place != turn || !wanted(&rules[value], &one->values[value])) continue;
        put_attribute(file, rules[value].type, marked(&rules[value], '1') ? &yes : one->values[value].value, one->values[value].length);
      }
    put(file, one->length);
    fwrite(one->blob, 1, one->length, file);
    objects_made++;
  }
  fclose(file);
  printf("{\"objects\":%lu,\"findMs\":%.3f,\"readMs\":%.3f,\"wrapMs\":%.3f,\"totalMs\":%.3f}\n", objects_made, found - start,
         read - found, wrapped - read, wrapped - start);
}

typedef struct { Ulong class, key_type, count, handle, length; Attribute *template; unsigned char *blob; const Attribute *id; int signs; } Made;

static Ulong take(FILE *file) {
  Ulong number;
  if (fread(&number, 8, 1, file) != 1) return UNAVAILABLE;
  return number;
}

static void *take_bytes(FILE *file, Ulong length) {
  if (length > 1ul << 24) fail("the file is damaged", length);
  void *bytes = room(length);
  if (fread(bytes, 1, length, file) != length) fail("the file ends early", length);
  return bytes;
}

static int by_id(const void *left, const void *right) {
  const Attribute *a = (*(Made *const *)left)->id, *b = (*(Made *const *)right)->id;
  if (a == NULL || b == NULL) return (a != NULL) - (b != NULL);
  if (a->length != b->length) return a->length < b->length ? -1 : 1;
  return memcmp(a->value, b->value, a->length);
}

static void use(const Made *one, const Made *public_key, Ulong key) {
  unsigned char message[32] = "antipode bench", output[4096];
  Ulong length = sizeof output;
  if (one->class == SECRET_KEY) {
    Mechanism how = {AES_KEY_WRAP_PAD, NULL, 0};
    check(CALL(C_WrapKey, session, &how, key, one->handle, output, &length), "C_WrapKey");
    if (length != one->length || memcmp(output, one->blob, length) != 0) fail("a key came back as another", one->handle);
    return;
  }
  Mechanism how = {one->key_type == RSA ? SHA256_RSA_PKCS : ECDSA, NULL, 0};
  check(CALL(C_SignInit, session, &how, one->handle), "C_SignInit");
  check(CALL(C_Sign, session, message, 32ul, output, &length), "C_Sign");
  if (public_key == NULL) return;
  check(CALL(C_VerifyInit, session, &how, public_key->handle), "C_VerifyInit");
  check(CALL(C_Verify, session, message, 32ul, output, length), "C_Verify");
}

static void target(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) fail(path, 0);
  Ulong count = 0, capacity = 1024;
  Made *objects = room(capacity * sizeof(Made));
  for (Ulong class; (class = take(file)) != UNAVAILABLE; count++) {
    if (count == capacity && (objects = realloc(objects, (capacity *= 2) * sizeof(Made))) == NULL) fail("no memory for", capacity);
    Made *one = &objects[count];
    *one = (Made){.class = class, .key_type = take(file)};
    one->count = take(file);
    if (one->count > PLANNED_MAX + 3) fail("the file is damaged", one->count);
    one->template = room(one->count * sizeof(Attribute));
    for (Ulong at = 0; at < one->count; at++) {
      Attribute *attribute = &one->template[at];
      attribute->type = take(file);
      attribute->length = take(file);
      attribute->value = take_bytes(file, attribute->length);
      if (attribute->type == ID) one->id = attribute;
      if (attribute->type == SIGN) one->signs = *(char *)attribute->value;
    }
    one->length = take(file);
    one->blob = take_bytes(file, one->length);
  }
  fclose(file);
  Ulong key = wrapping_key();
  Mechanism how = {AES_KEY_WRAP_PAD, NULL, 0};

  double start = now_ms();
  for (Ulong at = 0; at < count; at++) {
    Made *one = &objects[at];
    if (one->class == PUBLIC_KEY) continue;
    check(CALL(C_UnwrapKey, session, &how, key, one->blob, one->length, one->template, one->count, &one->handle), "C_UnwrapKey");
  }
  double unwrapped = now_ms();
  Made **public_keys = room(count * sizeof(Made *));
  Ulong publics = 0;
  for (Ulong at = 0; at < count; at++) {
    Made *one = &objects[at];
    if (one->class != PUBLIC_KEY) continue;
    check(CALL(C_CreateObject, session, one->template, one->count, &one->handle), "C_CreateObject");
    public_keys[publics++] = one;
  }
  double created = now_ms();
  qsort(public_keys, publics, sizeof(Made *), by_id);
  for (Ulong at = 0; at < count; at++) {
    Made *one = &objects[at];
    if (one->class == PUBLIC_KEY || (one->class == PRIVATE_KEY && !one->signs)) continue;
    Made **match = one->class == PRIVATE_KEY ? bsearch(&one, public_keys, publics, sizeof(Made *), by_id) : NULL;
    use(one, match == NULL ? NULL : *match, key);
  }
  double used = now_ms();
  printf("{\"objects\":%lu,\"unwrapMs\":%.3f,\"createMs\":%.3f,\"useMs\":%.3f,\"totalMs\":%.3f}\n", count, unwrapped - start,
         created - unwrapped, used - created, used - start);
}

int main(int count, char **words) {
  if (count < 7) {
    fprintf(stderr, "usage: floor MODULE TOKEN-LABEL PIN-FILE PLAN inventory PASSES WRAPS | source FILE | target FILE\n");
    return 2;
  }
  read_plan(words[4]);
  open_token(words[1], words[2], words[3]);
  if (strcmp(words[5], "inventory") == 0 && count == 8) inventory(atoi(words[6]), atoi(words[7]));
  else if (strcmp(words[5], "source") == 0) source(words[6]);
  else if (strcmp(words[5], "target") == 0) target(words[6]);
  else fail(words[5], 0);
  CALL(C_Finalize, NULL);
  return 0;
}

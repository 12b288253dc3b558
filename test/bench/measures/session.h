/*
 * A session with a token, and what the programs of bare PKCS#11 calls have in common.
 *
 * Layout: LP64, CK_ULONG of 8 bytes, structures naturally aligned (PKCS#11 3.0 base, section 2.1). Declarations of our own.
 */
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
       C_GetAttributeValue = 24, C_FindObjectsInit = 26, C_FindObjects = 27, C_FindObjectsFinal = 28, C_EncryptInit = 29, C_Encrypt = 30,
       C_DecryptInit = 33, C_Decrypt = 34, C_SignInit = 42, C_Sign = 43,
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

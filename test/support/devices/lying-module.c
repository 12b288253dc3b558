/*
 * A PKCS#11 module that stands in front of another one (SoftHSM) and lies on order: it answers chosen return values, reuses
 * handles, shows a slot that does not answer, is slow or hangs, and ignores or invents attributes. Without orders it passes
 * every call on.
 *
 * Orders are lines in the file `<this module's path>.orders`, which is read again at each call. A line is a verb and words of
 * the form name=value; numbers are decimal or 0x..., bytes are hexadecimal:
 *
 *   refuse code=N            the call returns this value and has no effect, except that C_Sign and its kind end their
 *                            operation, as the standard has it
 *   fail-afterwards code=N   the call has its effect and returns this value all the same
 *   delay ms=N               the call starts this much later
 *   hang                     the call never returns
 *   ignore attribute=N       the attribute is taken out of the template
 *   force attribute=N value=BYTES
 *                            the template has this value, whatever the caller wanted
 *   replace attribute=N value=BYTES
 *                            the same, only in a template that has the attribute
 *   read-only attribute=N    a template with this attribute gets CKR_ATTRIBUTE_READ_ONLY
 *   read-only attribute=N value=BYTES
 *                            only where it has this value
 *   hide attribute=N code=N  C_GetAttributeValue does not tell this attribute
 *   answer attribute=N value=BYTES
 *                            C_GetAttributeValue tells this value instead
 *   answer attribute=N length=N
 *                            C_GetAttributeValue claims this length, and the room is always too small
 *   stop-at-first-missing    C_GetAttributeValue leaves out all attributes after the first that it cannot tell
 *   extra-slot code=N        one more slot, the first of all, for which every call returns this value
 *   reuse-handles            an object gets the lowest handle that is free (looked at in C_Initialize only)
 *   token-flags flags=N      C_GetTokenInfo sets these flags besides
 *   pad                      C_WrapKey and C_UnwrapKey pad a secret with zeros to a multiple of 8 bytes, if it is extractable
 *   substitute value=BYTES   C_WrapKey wraps a secret of this value instead, and C_UnwrapKey makes one of it
 *   kdf number=N             ECDH derives by this function of ANSI X9.63 (CKD_SHA256_KDF and its kind) and by no other, but
 *                            for those of further orders
 *   der-points               ECDH takes a point as an OCTET STRING only
 *   wrap-number number=N     what SoftHSM does as 0x210a has this number, and 0x210a and 0x210b are unknown
 *   real path=PATH           the module behind (looked at when this one is loaded; the default is SoftHSM)
 *
 * Further words say which calls an order is for: function=C_Name, label=BYTES (of an object or in a template; for C_Sign and
 * its kind: of the key), class=N (the same), mechanism=N, slot=N, after=N (not the first N calls that fit), times=N (only so
 * many), untilRestart=1 (until a process initialises the module: a session that is void). Fitting calls are counted in the file that `counters path=PATH` names, over all processes: so that "once" holds
 * when a worker is started again. The same file has the number of calls of each function.
 *
 * One thread at a time. Layout: LP64, CK_ULONG of 8 bytes (PKCS#11 3.0 base, section 2.1). Declarations of our own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long Ulong;
typedef struct { Ulong type; void *value; Ulong length; } Attribute;
typedef struct { Ulong type; void *parameter; Ulong length; } Mechanism;

enum { OK = 0, GENERAL_ERROR = 0x005, ATTRIBUTE_READ_ONLY = 0x010, DEVICE_ERROR = 0x030, MECHANISM_INVALID = 0x070,
       MECHANISM_PARAM_INVALID = 0x071, OBJECT_HANDLE_INVALID = 0x082, TEMPLATE_INCOMPLETE = 0x0d0, BUFFER_TOO_SMALL = 0x150 };
enum { CLASS = 0x000, TOKEN = 0x001, LABEL = 0x003, VALUE = 0x011, KEY_TYPE = 0x100, SENSITIVE = 0x103, VALUE_LEN = 0x161, EXTRACTABLE = 0x162 };
enum { SECRET_KEY = 4, GENERIC_SECRET = 0x10, ECDH1_DERIVE = 0x1050, KEY_WRAP_PAD = 0x210a, KEY_WRAP_KWP = 0x210b };
static const Ulong ALLOWED_MECHANISMS = 0x40000600;
enum { TOKEN_INFO_FLAGS = 96 };
static const Ulong UNAVAILABLE = ~0ul, ANY = ~0ul, EXTRA_SLOT = 0x7fff0001;

/*
 * The functions of CK_FUNCTION_LIST in order (pkcs11f.h), and the kinds of their arguments:
 * s session, l slot, k handle of an object, h pointer to a new handle, m mechanism, t template (its count follows),
 * a attributes to read (their count follows), - anything else.
 */
#define FUNCTIONS(ROW) \
  ROW(C_Initialize, "-") ROW(C_Finalize, "-") ROW(C_GetInfo, "-") ROW(C_GetFunctionList, "-") ROW(C_GetSlotList, "---") \
  ROW(C_GetSlotInfo, "l-") ROW(C_GetTokenInfo, "l-") ROW(C_GetMechanismList, "l--") ROW(C_GetMechanismInfo, "l--") \
  ROW(C_InitToken, "l---") ROW(C_InitPIN, "s--") ROW(C_SetPIN, "s----") ROW(C_OpenSession, "l----") ROW(C_CloseSession, "s") \
  ROW(C_CloseAllSessions, "l") ROW(C_GetSessionInfo, "s-") ROW(C_GetOperationState, "s--") ROW(C_SetOperationState, "s--kk") \
  ROW(C_Login, "s---") ROW(C_Logout, "s") ROW(C_CreateObject, "st-h") ROW(C_CopyObject, "skt-h") ROW(C_DestroyObject, "sk") \
  ROW(C_GetObjectSize, "sk-") ROW(C_GetAttributeValue, "ska-") ROW(C_SetAttributeValue, "skt-") ROW(C_FindObjectsInit, "st-") \
  ROW(C_FindObjects, "s---") ROW(C_FindObjectsFinal, "s") ROW(C_EncryptInit, "smk") ROW(C_Encrypt, "s----") \
  ROW(C_EncryptUpdate, "s----") ROW(C_EncryptFinal, "s--") ROW(C_DecryptInit, "smk") ROW(C_Decrypt, "s----") \
  ROW(C_DecryptUpdate, "s----") ROW(C_DecryptFinal, "s--") ROW(C_DigestInit, "sm") ROW(C_Digest, "s----") ROW(C_DigestUpdate, "s--") \
  ROW(C_DigestKey, "sk") ROW(C_DigestFinal, "s--") ROW(C_SignInit, "smk") ROW(C_Sign, "s----") ROW(C_SignUpdate, "s--") \
  ROW(C_SignFinal, "s--") ROW(C_SignRecoverInit, "smk") ROW(C_SignRecover, "s----") ROW(C_VerifyInit, "smk") ROW(C_Verify, "s----") \
  ROW(C_VerifyUpdate, "s--") ROW(C_VerifyFinal, "s--") ROW(C_VerifyRecoverInit, "smk") ROW(C_VerifyRecover, "s----") \
  ROW(C_DigestEncryptUpdate, "s----") ROW(C_DecryptDigestUpdate, "s----") ROW(C_SignEncryptUpdate, "s----") \
  ROW(C_DecryptVerifyUpdate, "s----") ROW(C_GenerateKey, "smt-h") ROW(C_GenerateKeyPair, "smt-t-hh") ROW(C_WrapKey, "smkk--") \
  ROW(C_UnwrapKey, "smk--t-h") ROW(C_DeriveKey, "smkt-h") ROW(C_SeedRandom, "s--") ROW(C_GenerateRandom, "s--") \
  ROW(C_GetFunctionStatus, "s") ROW(C_CancelFunction, "s") ROW(C_WaitForSlotEvent, "---")

#define NUMBER(name, kinds) name##_,
enum Function { FUNCTIONS(NUMBER) FUNCTION_COUNT };
#define NAME_AND_KINDS(name, kinds) { #name, kinds },
static const struct { const char *name, *kinds; } functions[FUNCTION_COUNT] = { FUNCTIONS(NAME_AND_KINDS) };

/* CK_FUNCTION_LIST: the version, padded to the alignment of a pointer, then the functions. Every argument of theirs is passed
 * as an integer or a pointer, so that one prototype of eight Ulong fits all of them on the machines of our tests. */
enum { ARGUMENTS_MAX = 8 };
typedef Ulong (*Call)(Ulong, Ulong, Ulong, Ulong, Ulong, Ulong, Ulong, Ulong);
typedef struct { Ulong version; Call calls[FUNCTION_COUNT]; } FunctionList;
static FunctionList *real;

static Ulong pass_on(enum Function function, const Ulong a[ARGUMENTS_MAX]) {
  return real->calls[function](a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}

static Ulong read_attribute(Ulong session, Ulong object, Attribute *attribute) {
  const Ulong arguments[ARGUMENTS_MAX] = { session, object, (Ulong)attribute, 1 };
  return pass_on(C_GetAttributeValue_, arguments);
}

/* --- orders --- */

enum { ORDERS_MAX = 64, BYTES_MAX = 1024, LINE_MAX_BYTES = 4096 };
typedef struct { unsigned char bytes[BYTES_MAX]; Ulong length; int is_set; } Bytes;
typedef struct {
  char verb[32];
  Ulong function, code, ms, attribute, length, class, mechanism, slot, after, times, flags, number, until_restart;
  Bytes value, label;
} Order;
static Order orders[ORDERS_MAX];
static int order_count;

/* Shared with all processes that use this module under the same orders. */
typedef struct { atomic_ulong calls[FUNCTION_COUNT], fitting[ORDERS_MAX]; } Counters;
static Counters own_counters, *counters = &own_counters;
static char counters_path[512], real_path[512];

static void use_counters(const char *path) {
  if (strcmp(path, counters_path) == 0) return;
  if (counters != &own_counters) munmap(counters, sizeof *counters);
  counters = &own_counters;
  snprintf(counters_path, sizeof counters_path, "%s", path);
  const int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *shared = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (shared != MAP_FAILED) counters = shared;
  close(file);
}

static Ulong function_named(const char *name) {
  for (Ulong function = 0; function < FUNCTION_COUNT; function++)
    if (strcmp(functions[function].name, name) == 0) return function;
  fprintf(stderr, "lying module: no function %s\n", name);
  return ANY;
}

static void read_bytes(const char *text, Bytes *bytes) {
  bytes->is_set = 1;
  for (unsigned byte; bytes->length < BYTES_MAX && sscanf(text, "%2x", &byte) == 1; text += 2)
    bytes->bytes[bytes->length++] = (unsigned char)byte;
}

static void read_word(Order *order, const char *name, const char *text) {
  struct { const char *name; Ulong *number; } numbers[] = {
    { "code", &order->code }, { "ms", &order->ms }, { "attribute", &order->attribute }, { "length", &order->length },
    { "class", &order->class }, { "mechanism", &order->mechanism }, { "slot", &order->slot }, { "after", &order->after },
    { "times", &order->times }, { "flags", &order->flags }, { "number", &order->number },
    { "untilRestart", &order->until_restart },
  };
  for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++)
    if (strcmp(name, numbers[index].name) == 0) *numbers[index].number = strtoul(text, NULL, 0);
  if (strcmp(name, "function") == 0) order->function = function_named(text);
  if (strcmp(name, "value") == 0) read_bytes(text, &order->value);
  if (strcmp(name, "label") == 0) read_bytes(text, &order->label);
  if (strcmp(name, "path") != 0) return;
  if (strcmp(order->verb, "counters") == 0) use_counters(text);
  else snprintf(real_path, sizeof real_path, "%s", text);
}

static void read_orders(void) {
  order_count = 0;
  Dl_info self;
  char path[512], line[LINE_MAX_BYTES];
  if (dladdr((void *)read_orders, &self) == 0) return;
  snprintf(path, sizeof path, "%s.orders", self.dli_fname);
  FILE *file = fopen(path, "re");
  if (file == NULL) return;
  while (order_count < ORDERS_MAX && fgets(line, sizeof line, file) != NULL) {
    Order *order = &orders[order_count];
    memset(order, 0, sizeof *order);
    order->function = order->class = order->mechanism = order->slot = order->attribute = ANY;
    char *rest = NULL;
    char *word = strtok_r(line, " \n", &rest);
    if (word == NULL || *word == '#') continue;
    snprintf(order->verb, sizeof order->verb, "%s", word);
    while ((word = strtok_r(NULL, " \n", &rest)) != NULL) {
      char *value = strchr(word, '=');
      if (value == NULL) continue;
      *value = 0;
      read_word(order, word, value + 1);
    }
    order_count++;
  }
  fclose(file);
}

static int is_verb(const Order *order, const char *verb) { return strcmp(order->verb, verb) == 0; }

static const Order *order_with(const char *verb) {
  for (int index = 0; index < order_count; index++)
    if (is_verb(&orders[index], verb)) return &orders[index];
  return NULL;
}

/* --- handles: the real ones, or the lowest number that is free --- */

enum { HANDLES_MAX = 65536 };
static struct { Ulong real; int is_used; } handles[HANDLES_MAX];
static Ulong handles_end = 1;
static int is_reusing;

static int is_gone(Ulong session, Ulong object) {
  Ulong class;
  Attribute attribute = { CLASS, &class, sizeof class };
  return read_attribute(session, object, &attribute) == OBJECT_HANDLE_INVALID;
}

static Ulong shown_handle(Ulong session, Ulong object) {
  if (!is_reusing) return object;
  for (Ulong handle = 1; handle < handles_end; handle++)
    if (handles[handle].is_used && handles[handle].real == object) return handle;
  for (Ulong handle = 1; handle < handles_end; handle++)
    if (handles[handle].is_used && is_gone(session, handles[handle].real)) handles[handle].is_used = 0;
  Ulong handle = 1;
  while (handle < handles_end && handles[handle].is_used) handle++;
  if (handle == HANDLES_MAX) abort();
  if (handle == handles_end) handles_end++;
  handles[handle].real = object;
  handles[handle].is_used = 1;
  return handle;
}

static Ulong real_handle(Ulong handle) {
  if (!is_reusing) return handle;
  return handle < handles_end && handles[handle].is_used ? handles[handle].real : 0xffffff00ul + handle;
}

/* --- which calls an order is for --- */

/* The key of the operation that a session has begun: C_Sign and its kind do not name it. */
enum { SESSIONS_MAX = 64 };
static struct { Ulong session, object; } operations[SESSIONS_MAX];

static int begins_operation(enum Function function) { return strcmp(functions[function].kinds, "smk") == 0; }

static int continues_operation(enum Function function) {
  return function > C_FindObjectsFinal_ && function < C_GenerateKey_ && !begins_operation(function);
}

static int has_value(Ulong session, Ulong object, Ulong type, const void *bytes, Ulong length) {
  unsigned char found[BYTES_MAX];
  Attribute attribute = { type, found, sizeof found };
  if (read_attribute(session, object, &attribute) != OK) return 0;
  return attribute.length == length && memcmp(found, bytes, length) == 0;
}

static int template_has(const Attribute *template, Ulong count, Ulong type, const void *bytes, Ulong length) {
  for (Ulong index = 0; index < count; index++)
    if (template[index].type == type && template[index].length == length && memcmp(template[index].value, bytes, length) == 0)
      return 1;
  return 0;
}

/* Whether the call has an object, or a template, with this attribute. Handles in `a` are real ones. */
static int is_about(enum Function function, const Ulong a[ARGUMENTS_MAX], Ulong type, const void *bytes, Ulong length) {
  const char *kinds = functions[function].kinds;
  for (int index = 0; kinds[index] != 0; index++) {
    if (kinds[index] == 'k' && has_value(a[0], a[index], type, bytes, length)) return 1;
    if (kinds[index] == 't' && template_has((const Attribute *)a[index], a[index + 1], type, bytes, length)) return 1;
  }
  return continues_operation(function) && has_value(a[0], operations[a[0] % SESSIONS_MAX].object, type, bytes, length);
}

static int fits(const Order *order, enum Function function, const Ulong a[ARGUMENTS_MAX]) {
  const char *kinds = functions[function].kinds;
  if (order->function != ANY && order->function != function) return 0;
  if (order->until_restart != 0 && atomic_load(&counters->calls[C_Initialize_]) > 0) return 0;
  if (order->slot != ANY && (kinds[0] != 'l' || a[0] != order->slot)) return 0;
  if (order->mechanism != ANY && (kinds[0] == 0 || kinds[1] != 'm' || ((const Mechanism *)a[1])->type != order->mechanism)) return 0;
  if (order->class != ANY && !is_about(function, a, CLASS, &order->class, sizeof order->class)) return 0;
  if (order->label.is_set && !is_about(function, a, LABEL, order->label.bytes, order->label.length)) return 0;
  return 1;
}

/* Counts a call that fits, and says whether it is one of those that the order means. */
static int is_due(const Order *order, enum Function function, const Ulong a[ARGUMENTS_MAX]) {
  if (!fits(order, function, a)) return 0;
  const Ulong before = atomic_fetch_add(&counters->fitting[order - orders], 1);
  return before >= order->after && (order->times == 0 || before < order->after + order->times);
}

/* --- the lies --- */

static void wait_ms(Ulong ms) {
  const struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
  clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* What is done before the call: it waits, and what it gives is the answer unless OK. */
static Ulong answer_of_orders(enum Function function, const Ulong a[ARGUMENTS_MAX]) {
  Ulong answer = OK;
  for (int index = 0; index < order_count; index++) {
    const Order *order = &orders[index];
    if (!is_verb(order, "refuse") && !is_verb(order, "delay") && !is_verb(order, "hang")) continue;
    if (!is_due(order, function, a)) continue;
    if (is_verb(order, "delay")) wait_ms(order->ms);
    else if (is_verb(order, "hang")) for (;;) pause();
    else if (answer == OK) answer = order->code;
  }
  return answer;
}

static Ulong failure_afterwards(enum Function function, const Ulong a[ARGUMENTS_MAX]) {
  for (int index = 0; index < order_count; index++)
    if (is_verb(&orders[index], "fail-afterwards") && is_due(&orders[index], function, a)) return orders[index].code;
  return OK;
}

/* A template as the device understands it, in a place of our own. */
enum { TEMPLATE_MAX = 96 };
static Ulong adapt_template(enum Function function, const Ulong a[ARGUMENTS_MAX], Attribute room[TEMPLATE_MAX], Ulong *count) {
  for (int index = 0; index < order_count; index++) {
    Order *order = &orders[index];
    const int is_replaced = is_verb(order, "replace"), is_forced = is_replaced || is_verb(order, "force");
    const int is_ignored = is_verb(order, "ignore"), is_read_only = is_verb(order, "read-only");
    if ((!is_forced && !is_ignored && !is_read_only) || !is_due(order, function, a)) continue;
    Ulong place = 0;
    while (place < *count && room[place].type != order->attribute) place++;
    if (is_read_only && place < *count &&
        (!order->value.is_set || template_has(&room[place], 1, order->attribute, order->value.bytes, order->value.length)))
      return ATTRIBUTE_READ_ONLY;
    if (is_ignored && place < *count) {
      memmove(&room[place], &room[place + 1], (*count - place - 1) * sizeof *room);
      *count -= 1;
    }
    if (!is_forced || place == TEMPLATE_MAX || (is_replaced && place == *count)) continue;
    /* In front of all others: SoftHSM wants CKA_MODIFIABLE to be the last. */
    if (place == *count) {
      memmove(&room[1], &room[0], *count * sizeof *room);
      place = 0;
      *count += 1;
    }
    room[place] = (Attribute){ order->attribute, order->value.bytes, order->value.length };
  }
  return OK;
}

/* --- another number for wrapping --- */

/* Puts one number in the place of another in every list of allowed mechanisms; the lists are copied to `room`. */
enum { LISTS_MAX = 4, LIST_MAX = 64 };
static void renumber(Attribute *attributes, Ulong count, Ulong from, Ulong to, Ulong room[LISTS_MAX][LIST_MAX]) {
  int lists = 0;
  for (Ulong index = 0; index < count; index++) {
    Attribute *attribute = &attributes[index];
    if (attribute->type != ALLOWED_MECHANISMS || attribute->value == NULL || attribute->length == UNAVAILABLE) continue;
    if (attribute->length > LIST_MAX * sizeof(Ulong) || (room != NULL && lists == LISTS_MAX)) continue;
    Ulong *list = attribute->value;
    if (room != NULL) {
      list = memcpy(room[lists++], attribute->value, attribute->length);
      attribute->value = list;
    }
    for (Ulong place = 0; place < attribute->length / sizeof(Ulong); place++)
      if (list[place] == from) list[place] = to;
  }
}

/* The mechanism as SoftHSM knows it, in `room`; NULL where nobody knows it. */
static Mechanism *known_mechanism(Mechanism *mechanism, Mechanism *room) {
  const Order *order = order_with("wrap-number");
  if (order == NULL) return mechanism;
  *room = *mechanism;
  if (mechanism->type == KEY_WRAP_PAD || mechanism->type == KEY_WRAP_KWP) return NULL;
  if (mechanism->type == order->number) room->type = KEY_WRAP_PAD;
  return room;
}

/* --- key derivation functions --- */

typedef struct { Ulong kdf, shared_length; void *shared; Ulong point_length; unsigned char *point; } EcdhParameters;

/* The hash of a function of ANSI X9.63, by its number: CKD_SHA1_KDF, and CKD_SHA224_KDF to CKD_SHA512_KDF. */
static Ulong hash_of(Ulong kdf) {
  static const Ulong hashes[] = { 0, 0, 0x220, 0, 0, 0x255, 0x250, 0x260, 0x270 };
  return kdf < sizeof hashes / sizeof *hashes ? hashes[kdf] : 0;
}

static int is_offered(Ulong kdf) {
  for (int index = 0; index < order_count; index++)
    if (is_verb(&orders[index], "kdf") && orders[index].number == kdf) return 1;
  return 0;
}

/* ANSI X9.63 without shared data, by the hash of the token. */
static Ulong derive_bytes(Ulong session, Ulong hash, const unsigned char *secret, Ulong length, unsigned char *key, Ulong wanted) {
  unsigned char input[BYTES_MAX + 4];
  memcpy(input, secret, length);
  for (Ulong counter = 1, made = 0; made < wanted; counter++) {
    unsigned char block[64];
    Ulong block_length = sizeof block;
    for (int byte = 0; byte < 4; byte++) input[length + byte] = (unsigned char)(counter >> (24 - 8 * byte));
    Mechanism mechanism = { hash, NULL, 0 };
    const Ulong begin[ARGUMENTS_MAX] = { session, (Ulong)&mechanism };
    const Ulong digest[ARGUMENTS_MAX] = { session, (Ulong)input, length + 4, (Ulong)block, (Ulong)&block_length };
    Ulong returned = pass_on(C_DigestInit_, begin);
    if (returned == OK) returned = pass_on(C_Digest_, digest);
    if (returned != OK) return returned;
    for (Ulong at = 0; at < block_length && made < wanted; at++) key[made++] = block[at];
  }
  return OK;
}

/* By the length of a point, since an OCTET STRING begins with 04 as a bare point does. P-521 has 66 bytes, others 4 x n. */
static int is_bare(Ulong length) { return length == 133 || (length % 2 == 1 && (length - 1) / 2 % 4 == 0); }

/* The key is made of a secret that SoftHSM agrees and shows. */
static Ulong derive_by_function(const Ulong a[ARGUMENTS_MAX], const EcdhParameters *parameters) {
  const Ulong hash = hash_of(parameters->kdf);
  if (hash == 0 || !is_offered(parameters->kdf)) return MECHANISM_PARAM_INVALID;
  EcdhParameters plain = *parameters;
  plain.kdf = 1;
  Mechanism mechanism = { ECDH1_DERIVE, &plain, sizeof plain };
  const Ulong head = is_bare(plain.point_length) ? 0 : plain.point_length > 130 ? 3 : 2;
  Ulong field = (plain.point_length - head - 1) / 2;
  Ulong class = SECRET_KEY, type = GENERIC_SECRET, secret = 0;
  unsigned char no = 0, yes = 1, value[BYTES_MAX];
  Attribute readable[] = {
    { CLASS, &class, sizeof class }, { KEY_TYPE, &type, sizeof type }, { TOKEN, &no, 1 }, { SENSITIVE, &no, 1 },
    { EXTRACTABLE, &yes, 1 }, { VALUE_LEN, &field, sizeof field },
  };
  const Ulong derive[ARGUMENTS_MAX] = { a[0], (Ulong)&mechanism, a[2], (Ulong)readable, sizeof readable / sizeof *readable, (Ulong)&secret };
  Ulong returned = pass_on(C_DeriveKey_, derive);
  if (returned != OK) return returned;
  Attribute shown = { VALUE, value, sizeof value };
  returned = read_attribute(a[0], secret, &shown);
  const Ulong destroy[ARGUMENTS_MAX] = { a[0], secret };
  pass_on(C_DestroyObject_, destroy);
  if (returned != OK) return returned;

  unsigned char key[BYTES_MAX];
  Attribute template[TEMPLATE_MAX];
  Ulong count = 1;
  template[0] = (Attribute){ VALUE, key, 0 };
  for (Ulong index = 0; index < a[4] && count < TEMPLATE_MAX; index++) {
    const Attribute *attribute = &((const Attribute *)a[3])[index];
    if (attribute->type == VALUE_LEN) template[0].length = *(const Ulong *)attribute->value;
    else template[count++] = *attribute;
  }
  if (template[0].length == 0 || template[0].length > BYTES_MAX) return TEMPLATE_INCOMPLETE;
  returned = derive_bytes(a[0], hash, value, shown.length, key, template[0].length);
  const Ulong create[ARGUMENTS_MAX] = { a[0], (Ulong)template, count, a[5] };
  return returned == OK ? pass_on(C_CreateObject_, create) : returned;
}

static Ulong derive_key(const Ulong a[ARGUMENTS_MAX]) {
  const Mechanism *mechanism = (const Mechanism *)a[1];
  if (mechanism->type != ECDH1_DERIVE) return pass_on(C_DeriveKey_, a);
  const EcdhParameters *parameters = mechanism->parameter;
  if (order_with("der-points") != NULL && is_bare(parameters->point_length)) return MECHANISM_PARAM_INVALID;
  return order_with("kdf") == NULL ? pass_on(C_DeriveKey_, a) : derive_by_function(a, parameters);
}

static Ulong get_slots(Ulong a[ARGUMENTS_MAX]) {
  Ulong *list = (Ulong *)a[1], *count = (Ulong *)a[2];
  if (order_with("extra-slot") == NULL) return pass_on(C_GetSlotList_, a);
  const Ulong room = list == NULL ? 0 : *count;
  Ulong behind = room == 0 ? 0 : room - 1;
  const Ulong arguments[ARGUMENTS_MAX] = { a[0], list == NULL ? 0 : (Ulong)(list + 1), (Ulong)&behind };
  const Ulong returned = list != NULL && room == 0 ? BUFFER_TOO_SMALL : pass_on(C_GetSlotList_, arguments);
  if (list != NULL && room > 0) list[0] = EXTRA_SLOT;
  *count = behind + 1;
  return returned;
}

/* Tells one attribute: hidden, invented, or as it is. */
static Ulong get_attribute(const Ulong a[ARGUMENTS_MAX], Attribute *attribute) {
  for (int index = 0; index < order_count; index++) {
    const Order *order = &orders[index];
    const int is_hidden = is_verb(order, "hide"), is_invented = is_verb(order, "answer");
    if ((!is_hidden && !is_invented) || order->attribute != attribute->type || !is_due(order, C_GetAttributeValue_, a)) continue;
    const Ulong length = order->value.is_set ? order->value.length : order->length;
    const int is_told = is_invented && attribute->value == NULL;
    const int has_room = is_invented && order->value.is_set && attribute->length >= length;
    if (has_room && !is_told) memcpy(attribute->value, order->value.bytes, length);
    attribute->length = is_invented && (is_told || has_room || !order->value.is_set) ? length : UNAVAILABLE;
    return is_told || has_room ? OK : is_hidden ? order->code : BUFFER_TOO_SMALL;
  }
  return read_attribute(a[0], a[1], attribute);
}

static Ulong get_attributes(const Ulong a[ARGUMENTS_MAX]) {
  Attribute *attributes = (Attribute *)a[2];
  const int stops = order_with("stop-at-first-missing") != NULL;
  if (!stops && order_with("hide") == NULL && order_with("answer") == NULL) return pass_on(C_GetAttributeValue_, a);
  Ulong returned = OK;
  for (Ulong index = 0; index < a[3]; index++) {
    if (returned != OK && stops) attributes[index].length = UNAVAILABLE;
    else {
      const Ulong one = get_attribute(a, &attributes[index]);
      /* What is not about single attributes is told before what is. */
      const int is_plain = one == OK || one == 0x11 || one == 0x12 || one == BUFFER_TOO_SMALL;
      if (returned == OK || !is_plain) returned = one;
    }
  }
  return returned;
}

/* --- secrets of another value --- */

enum { AES_KEY_GEN = 0x1080, WRAP = 0x106, UNWRAP = 0x107 };

/* A secret by the template of the caller: of the value that is ordered, or of the key's value with zeros behind it. */
static Ulong make_false(const Order *order, Ulong session, Ulong key, Attribute *template, Ulong count, Ulong *made) {
  unsigned char no = 0, yes = 1, blob[1024];
  Ulong length = sizeof blob, bytes = 32, kek;
  if (order->value.is_set) {
    Attribute with_value[TEMPLATE_MAX];
    with_value[0] = (Attribute){ VALUE, (void *)order->value.bytes, order->value.length };
    memcpy(&with_value[1], template, count * sizeof *template);
    const Ulong create[ARGUMENTS_MAX] = { session, (Ulong)with_value, count + 1, (Ulong)made };
    return pass_on(C_CreateObject_, create);
  }
  Mechanism generation = { AES_KEY_GEN, NULL, 0 }, padding = { KEY_WRAP_PAD, NULL, 0 };
  Attribute wrapping[] = { { VALUE_LEN, &bytes, sizeof bytes }, { TOKEN, &no, 1 }, { WRAP, &yes, 1 }, { UNWRAP, &yes, 1 } };
  const Ulong generate[ARGUMENTS_MAX] = { session, (Ulong)&generation, (Ulong)wrapping, 4, (Ulong)&kek };
  Ulong returned = pass_on(C_GenerateKey_, generate);
  if (returned != OK) return returned;
  const Ulong wrap[ARGUMENTS_MAX] = { session, (Ulong)&padding, kek, key, (Ulong)blob, (Ulong)&length };
  returned = pass_on(C_WrapKey_, wrap);
  const Ulong unwrap[ARGUMENTS_MAX] = { session, (Ulong)&padding, kek, (Ulong)blob, length, (Ulong)template, count, (Ulong)made };
  if (returned == OK) returned = pass_on(C_UnwrapKey_, unwrap);
  const Ulong destroy[ARGUMENTS_MAX] = { session, kek };
  pass_on(C_DestroyObject_, destroy);
  return returned;
}

static const Order *falsifying(enum Function function, const Ulong a[ARGUMENTS_MAX]) {
  for (int index = 0; index < order_count; index++)
    if ((is_verb(&orders[index], "pad") || is_verb(&orders[index], "substitute")) && is_due(&orders[index], function, a)) return &orders[index];
  return NULL;
}

static Ulong wrap_falsely(const Order *order, const Ulong a[ARGUMENTS_MAX]) {
  unsigned char no = 0, yes = 1;
  Ulong class = SECRET_KEY, type = GENERIC_SECRET, made;
  Attribute template[] = { { CLASS, &class, sizeof class }, { KEY_TYPE, &type, sizeof type }, { TOKEN, &no, 1 }, { SENSITIVE, &yes, 1 }, { EXTRACTABLE, &yes, 1 } };
  if (make_false(order, a[0], a[3], template, 5, &made) != OK) return pass_on(C_WrapKey_, a);
  const Ulong instead[ARGUMENTS_MAX] = { a[0], a[1], a[2], made, a[4], a[5] }, destroy[ARGUMENTS_MAX] = { a[0], made };
  const Ulong returned = pass_on(C_WrapKey_, instead);
  pass_on(C_DestroyObject_, destroy);
  return returned;
}

static Ulong unwrap_falsely(const Order *order, const Ulong a[ARGUMENTS_MAX]) {
  const Ulong returned = pass_on(C_UnwrapKey_, a);
  Ulong *handle = (Ulong *)a[7], made;
  if (returned != OK || make_false(order, a[0], *handle, (Attribute *)a[5], a[6], &made) != OK) return returned;
  const Ulong destroy[ARGUMENTS_MAX] = { a[0], *handle };
  pass_on(C_DestroyObject_, destroy);
  *handle = made;
  return OK;
}

static Ulong perform(enum Function function, Ulong a[ARGUMENTS_MAX]) {
  const Order *flags, *falsified, *wrap = order_with("wrap-number");
  Mechanism room;
  Ulong returned;
  if (function == C_WrapKey_ || function == C_UnwrapKey_) {
    a[1] = (Ulong)known_mechanism((Mechanism *)a[1], &room);
    if (a[1] == 0) return MECHANISM_INVALID;
  }
  switch (function) {
    case C_GetSlotList_: return get_slots(a);
    case C_DeriveKey_: return derive_key(a);
    case C_GetAttributeValue_:
      returned = get_attributes(a);
      if (wrap != NULL) renumber((Attribute *)a[2], a[3], KEY_WRAP_PAD, wrap->number, NULL);
      return returned;
    case C_GetTokenInfo_:
      returned = pass_on(function, a);
      flags = order_with("token-flags");
      if (returned == OK && flags != NULL) *(Ulong *)((char *)a[1] + TOKEN_INFO_FLAGS) |= flags->flags;
      return returned;
    case C_FindObjects_:
      returned = pass_on(function, a);
      if (returned == OK)
        for (Ulong index = 0; index < *(Ulong *)a[3]; index++) ((Ulong *)a[1])[index] = shown_handle(a[0], ((Ulong *)a[1])[index]);
      return returned;
    case C_WrapKey_:
      falsified = falsifying(function, a);
      return falsified == NULL ? pass_on(function, a) : wrap_falsely(falsified, a);
    case C_UnwrapKey_:
      falsified = falsifying(function, a);
      return falsified == NULL ? pass_on(function, a) : unwrap_falsely(falsified, a);
    default: return pass_on(function, a);
  }
}

static Ulong dispatch(enum Function function, Ulong a[ARGUMENTS_MAX]) {
  const char *kinds = functions[function].kinds;
  read_orders();
  atomic_fetch_add(&counters->calls[function], 1);
  if (function == C_Initialize_) is_reusing = order_with("reuse-handles") != NULL;
  const Ulong named = function == C_DestroyObject_ ? a[1] : 0;
  for (int index = 0; kinds[index] != 0; index++)
    if (kinds[index] == 'k') a[index] = real_handle(a[index]);
  if (begins_operation(function)) {
    operations[a[0] % SESSIONS_MAX].session = a[0];
    operations[a[0] % SESSIONS_MAX].object = a[2];
  }
  const Ulong answer = answer_of_orders(function, a);
  if (answer != OK && continues_operation(function) && answer != BUFFER_TOO_SMALL) pass_on(function, a);
  if (answer != OK) return answer;
  if (kinds[0] == 'l' && a[0] == EXTRA_SLOT) return order_with("extra-slot") == NULL ? DEVICE_ERROR : order_with("extra-slot")->code;
  /* Two templates at most: those of a key pair. */
  Attribute rooms[2][TEMPLATE_MAX];
  Ulong lists[2][LISTS_MAX][LIST_MAX];
  const Order *wrap = order_with("wrap-number");
  int used = 0;
  for (int index = 0; kinds[index] != 0; index++) {
    if (kinds[index] != 't' || a[index + 1] >= TEMPLATE_MAX / 2) continue;
    Ulong count = a[index + 1];
    memcpy(rooms[used], (const void *)a[index], count * sizeof(Attribute));
    const Ulong refusal = adapt_template(function, a, rooms[used], &count);
    if (refusal != OK) return refusal;
    if (wrap != NULL) renumber(rooms[used], count, wrap->number, KEY_WRAP_PAD, lists[used]);
    a[index] = (Ulong)rooms[used++];
    a[index + 1] = count;
  }
  const Ulong failure = failure_afterwards(function, a);
  const Ulong returned = perform(function, a);
  if (failure != OK || returned != OK) return failure != OK ? failure : returned;
  if (named != 0 && is_reusing && named < handles_end) handles[named].is_used = 0;
  for (int index = 0; kinds[index] != 0; index++)
    if (kinds[index] == 'h') *(Ulong *)a[index] = shown_handle(a[0], *(Ulong *)a[index]);
  return OK;
}

#define STUB(name, kinds) \
  static Ulong name##_stub(Ulong a, Ulong b, Ulong c, Ulong d, Ulong e, Ulong f, Ulong g, Ulong h) { \
    return dispatch(name##_, (Ulong[ARGUMENTS_MAX]){ a, b, c, d, e, f, g, h }); \
  }
FUNCTIONS(STUB)
#define STUB_NAME(name, kinds) name##_stub,
static FunctionList shown = { 0, { FUNCTIONS(STUB_NAME) } };

Ulong C_GetFunctionList(FunctionList **list) {
  if (real == NULL) {
    read_orders();
    const char *path = *real_path == 0 ? "/usr/lib/softhsm/libsofthsm2.so" : real_path;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    Ulong (*get)(FunctionList **) = library == NULL ? NULL : (Ulong (*)(FunctionList **))dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&real) != OK) return GENERAL_ERROR;
    shown.version = real->version;
    shown.calls[C_GetFunctionList_] = (Call)(void *)C_GetFunctionList;
  }
  *list = &shown;
  return OK;
}

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
 */
#define _POSIX_C_SOURCE 200809L
#include "session.h"

static int marked(const Planned *one, char mark) { return strchr(one->marks, mark) != NULL; }

static Ulong wrapping_key(void) {
  Ulong class = SECRET_KEY, type = AES, handle;
  unsigned char yes = 1, no = 0, value[32];
  memset(value, 0x5a, sizeof value);
  Attribute template[] = {{CLASS, &class, 8}, {KEY_TYPE, &type, 8}, {TOKEN, &no, 1}, {PRIVATE, &yes, 1},
                          {WRAP, &yes, 1}, {UNWRAP, &yes, 1}, {VALUE, value, sizeof value}};
  check(CALL(C_CreateObject, session, template, 7ul, &handle), "C_CreateObject");
  return handle;
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

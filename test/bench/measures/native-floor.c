/*
 * The floor under native cloning between two SoftHSM tokens: the bare calls that its promises cannot do without. A blob is
 * encrypted in the source's token and decrypted in the standby's. A file is made whole or not at all, and durable. The
 * standby's token shows each object as it was made. Nothing is parsed, compared or proved, and no file is matched with its
 * object: what Antipode costs is measured beside it.
 *
 *   native-floor MODULE TOKEN-LABEL PIN-FILE PLAN take TOKEN-FOLDER FILE
 *   native-floor MODULE TOKEN-LABEL PIN-FILE PLAN place TOKEN-FOLDER FILE
 *
 * FILE carries the encrypted objects. Both encrypt under a key of known value: this program protects nothing, and is for
 * tokens of a measurement only. Starting the module, logging in and the first search are not timed.
 */
#define _GNU_SOURCE
#include "session.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AES_GCM = 0x1087, ENCRYPT = 0x104, DECRYPT = 0x105, SHOWN_BYTES = 160 };
enum { IV_BYTES = 12, AAD_BYTES = 16, FILE_BYTES = 8192, NAME_BYTES = 512, SUFFIX = 7 };

/* CK_GCM_PARAMS */
typedef struct { void *iv; Ulong iv_length, iv_bits; void *aad; Ulong aad_length, tag_bits; } Gcm;

static unsigned char iv[IV_BYTES], aad[AAD_BYTES];
static Gcm gcm = {iv, IV_BYTES, IV_BYTES * 8, aad, AAD_BYTES, 128};
static Mechanism how = {AES_GCM, &gcm, sizeof gcm};

static Ulong data_key(void) {
  Ulong class = SECRET_KEY, type = AES, handle;
  unsigned char yes = 1, no = 0, value[32];
  memset(value, 0x5a, sizeof value);
  Attribute template[] = {{CLASS, &class, 8}, {KEY_TYPE, &type, 8}, {TOKEN, &no, 1}, {PRIVATE, &yes, 1},
                          {ENCRYPT, &yes, 1}, {DECRYPT, &yes, 1}, {VALUE, value, sizeof value}};
  check(CALL(C_CreateObject, session, template, 7ul, &handle), "C_CreateObject");
  return handle;
}

static void lock(int file, short kind) {
  struct flock whole = {.l_type = kind, .l_whence = SEEK_SET};
  if (fcntl(file, F_SETLKW, &whole) != 0) fail("fcntl", 0);
}

/* Of an object file: the class comes first, behind the generation, its type and its kind. All numbers are big-endian. */
static Ulong class_in(const unsigned char *file, Ulong length) {
  Ulong class = 0;
  for (int at = 24; length >= 32 && at < 32; at++) class = class << 8 | file[at];
  return class;
}

static void take(const char *folder, const char *path) {
  Ulong *handles, type = 0, key = data_key(), count = find_all(&handles), taken = 0;
  Ulong *classes = room(count * sizeof(Ulong));
  for (Ulong at = 0; at < count; at++) classes[at] = class_of(handles[at], &type);
  FILE *out = fopen(path, "w");
  if (out == NULL) fail(path, 0);
  static unsigned char label[SHOWN_BYTES], id[SHOWN_BYTES], file[FILE_BYTES], sealed[2 * FILE_BYTES];

  double start = now_ms();
  /* By which names an object is told from others, for its file has no handle in it. */
  for (Ulong at = 0; at < count; at++) {
    if (classes[at] != PRIVATE_KEY && classes[at] != SECRET_KEY) continue;
    Ulong class;
    Attribute names[] = {{CLASS, &class, 8}, {KEY_TYPE, &type, 8}, {LABEL, label, sizeof label}, {ID, id, sizeof id}};
    check(CALL(C_GetAttributeValue, session, handles[at], names, 4ul), "C_GetAttributeValue");
  }
  DIR *list = opendir(folder);
  if (list == NULL) fail(folder, 0);
  for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
    size_t length = strlen(entry->d_name);
    if (length < SUFFIX || strcmp(entry->d_name + length - SUFFIX, ".object") != 0 || strcmp(entry->d_name, "token.object") == 0) continue;
    int one = openat(dirfd(list), entry->d_name, O_RDONLY);
    if (one < 0) continue;
    lock(one, F_RDLCK);
    ssize_t bytes = read(one, file, sizeof file);
    close(one);
    if (bytes < 0 || bytes == sizeof file) fail("an object file has", bytes);
    Ulong class = class_in(file, bytes), sealed_length = sizeof sealed;
    if (class != PRIVATE_KEY && class != SECRET_KEY) continue;
    iv[0] = taken, iv[1] = taken >> 8;
    check(CALL(C_EncryptInit, session, &how, key), "C_EncryptInit");
    check(CALL(C_Encrypt, session, file, (Ulong)bytes, sealed, &sealed_length), "C_Encrypt");
    fwrite(&sealed_length, 8, 1, out);
    fwrite(iv, 1, sizeof iv, out);
    fwrite(sealed, 1, sealed_length, out);
    taken++;
  }
  double end = now_ms();
  closedir(list);
  fclose(out);
  printf("{\"objects\":%lu,\"ms\":%.3f}\n", taken, end - start);
}

static int make(int folder, const char *name) {
  int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (file < 0) fail(name, 0);
  return file;
}

/* As a store does it that is killed at any moment: under another name, synced, and then under its own. */
static void write_object(int folder, Ulong number, const unsigned char *bytes, Ulong length) {
  char lock_file[NAME_BYTES], staged[NAME_BYTES], object[NAME_BYTES];
  snprintf(lock_file, NAME_BYTES, "antipode-floor-%lu.lock", number);
  snprintf(staged, NAME_BYTES, "antipode-floor-%lu.staged", number);
  snprintf(object, NAME_BYTES, "antipode-floor-%lu.object", number);
  close(make(folder, lock_file));
  int file = make(folder, staged);
  if (write(file, bytes, length) != (ssize_t)length || fsync(file) != 0) fail(staged, length);
  close(file);
  if (linkat(folder, staged, folder, object, 0) != 0 || unlinkat(folder, staged, 0) != 0) fail(object, 0);
}

/* Has the module look at the folder again, as it does itself. */
static void announce(int folder) {
  unsigned char number[8];
  int file = openat(folder, "generation", O_RDWR);
  if (file < 0) fail("generation", 0);
  lock(file, F_WRLCK);
  if (pread(file, number, 8, 0) != 8) fail("generation", 8);
  for (int at = 7; at >= 0 && ++number[at] == 0; at--) continue;
  if (pwrite(file, number, 8, 0) != 8) fail("generation", 8);
  close(file);
}

static void place(const char *path_of_folder, const char *path) {
  typedef struct { Ulong length; unsigned char iv[IV_BYTES], *bytes; } Sealed;
  Ulong *handles, key = data_key(), before = find_all(&handles), count = 0, capacity = 1 << 16;
  Sealed *sealed = room(capacity * sizeof(Sealed));
  FILE *in = fopen(path, "r");
  if (in == NULL) fail(path, 0);
  for (Ulong length; fread(&length, 8, 1, in) == 1; count++) {
    if (count == capacity || length > 2 * FILE_BYTES) fail("the file is damaged", count);
    Sealed *one = &sealed[count];
    *one = (Sealed){.length = length, .bytes = room(length)};
    if (fread(one->iv, 1, IV_BYTES, in) != IV_BYTES || fread(one->bytes, 1, length, in) != length) fail("the file ends early", count);
  }
  fclose(in);
  static unsigned char file[2 * FILE_BYTES];

  double start = now_ms();
  int folder = open(path_of_folder, O_RDONLY | O_DIRECTORY);
  if (folder < 0) fail(path_of_folder, 0);
  for (Ulong at = 0; at < count; at++) {
    Ulong length = sizeof file;
    memcpy(iv, sealed[at].iv, IV_BYTES);
    check(CALL(C_DecryptInit, session, &how, key), "C_DecryptInit");
    check(CALL(C_Decrypt, session, sealed[at].bytes, sealed[at].length, file, &length), "C_Decrypt");
    write_object(folder, at, file, length);
  }
  if (fsync(folder) != 0) fail("fsync", 0);
  announce(folder);
  double made = now_ms();
  Ulong *now, after = find_all(&now);
  double found = now_ms();
  if (after != before + count) fail("the token shows another number of objects", after);
  for (Ulong at = 0; at < after; at++) {
    Ulong old = 0;
    while (old < before && handles[old] != now[at]) old++;
    if (old == before) read_planned(now[at], PRIVATE_KEY);
  }
  double read = now_ms();
  close(folder);
  printf("{\"objects\":%lu,\"ms\":%.3f,\"makeMs\":%.3f,\"findMs\":%.3f,\"readMs\":%.3f}\n", count, read - start, made - start,
         found - made, read - found);
}

int main(int count, char **words) {
  if (count != 8) {
    fprintf(stderr, "usage: native-floor MODULE TOKEN-LABEL PIN-FILE PLAN take TOKEN-FOLDER FILE | place TOKEN-FOLDER FILE\n");
    return 2;
  }
  read_plan(words[4]);
  open_token(words[1], words[2], words[3]);
  if (strcmp(words[5], "take") == 0) take(words[6], words[7]);
  else if (strcmp(words[5], "place") == 0) place(words[6], words[7]);
  else fail(words[5], 0);
  CALL(C_Finalize, NULL);
  return 0;
}

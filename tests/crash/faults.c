/* Preloaded into a process: the n-th call that changes something below a folder fails.

   fault_arm(folder, n, error) starts the count; fault_disarm() ends it and returns how many calls there
   were; every later call fails too when `lasting`. Files are told by their names in /proc/self/fd.
   fault_name() says which call failed first, and on what. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX], failed[PATH_MAX + 32];
static size_t length;
static int at, number, counted, lasting;

void fault_arm(const char *folder, int n, int error, int stays) {
    length = strlen(folder);
    memcpy(root, folder, length + 1);
    number = error;
    lasting = stays;
    failed[0] = 0;
    __atomic_store_n(&counted, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&at, n, __ATOMIC_SEQ_CST);
}

int fault_disarm(void) {
    __atomic_store_n(&at, 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&counted, __ATOMIC_SEQ_CST);
}

const char *fault_name(void) {
    return failed;
}

static int fails(const char *call, const char *path) {
    int turn = __atomic_load_n(&at, __ATOMIC_SEQ_CST);
    int now = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
    if (now == turn || (lasting && now > turn)) {
        if (now == turn) snprintf(failed, sizeof failed, "%s %s", call, path);
        errno = number;
        return 1;
    }
    return 0;
}

static int is_below(const char *path) {
    return path && strncmp(path, root, length) == 0;
}

static int path_fails(const char *call, const char *path) {
    return __atomic_load_n(&at, __ATOMIC_SEQ_CST) && is_below(path) && fails(call, path);
}

static int file_fails(const char *call, int file) {
    char link[40], name[PATH_MAX];
    if (!__atomic_load_n(&at, __ATOMIC_SEQ_CST)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t found = readlink(link, name, sizeof name - 1);
    if (found < 0) return 0;
    name[found] = 0;
    return is_below(name) && fails(call, name);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

#define ON_FILE(type, name, arguments, values, ...) \
    type name arguments { \
        REAL(type, #name, __VA_ARGS__); \
        return file_fails(#name, file) ? -1 : real values; \
    }

ON_FILE(ssize_t, write, (int file, const void *from, size_t size), (file, from, size), int, const void *, size_t)
ON_FILE(ssize_t, pwrite, (int file, const void *from, size_t size, off_t to), (file, from, size, to), int,
        const void *, size_t, off_t)
ON_FILE(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t to), (file, from, size, to), int,
        const void *, size_t, off64_t)
ON_FILE(ssize_t, writev, (int file, const struct iovec *from, int count), (file, from, count), int,
        const struct iovec *, int)
ON_FILE(int, fsync, (int file), (file), int)
ON_FILE(int, fdatasync, (int file), (file), int)
ON_FILE(int, ftruncate, (int file, off_t to), (file, to), int, off_t)
ON_FILE(int, ftruncate64, (int file, off64_t to), (file, to), int, off64_t)

#define ON_PATH(name, arguments, values, path, ...) \
    int name arguments { \
        REAL(int, #name, __VA_ARGS__); \
        return path_fails(#name, path) ? -1 : real values; \
    }

ON_PATH(rename, (const char *from, const char *to), (from, to), to, const char *, const char *)
ON_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), to, int, const char *, int,
        const char *)
ON_PATH(link, (const char *from, const char *to), (from, to), to, const char *, const char *)
ON_PATH(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), to, int,
        const char *, int, const char *, int)
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path, const char *, mode_t)

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (flags & (O_WRONLY | O_RDWR) && path_fails(#name, path)) return -1; \
        return real(path, flags, mode); \
    }

OPENS(open)
OPENS(open64)

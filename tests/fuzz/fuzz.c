// See fuzz.h.
#include "tests/fuzz/fuzz.h"

#include <ftw.h>
#include <sys/mman.h>
#include <unistd.h>

const char *fuzz_file(const void *data, size_t size)
{
	static char path[64];
	static int file = -1;
	if (file < 0) {
		file = memfd_create("fuzz", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	DEMAND(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
	return path;
}

static char folder[] = "/dev/shm/penstock-fuzz-XXXXXX";

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	return remove(path);
}

static void remove_folder(void)
{
	nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
	static bool made;
	if (!made) {
		DEMAND(mkdtemp(folder) != NULL);
		atexit(remove_folder);
		made = true;
	}
	return folder;
}

// See memory.h. Linux overcommits: a mapping that the machine cannot back succeeds, and the process is killed when it
// touches it. So the pages are claimed at once.
#include "stage_server/device/cpu/memory.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/strings.h"

enum { HUGE_PAGE_BYTES = 2 << 20 };

bool memory_map(uint64_t bytes, uint8_t **ret_memory, struct error *error)
{
	*ret_memory = NULL;
	if (bytes == 0)
		return true;
	char wanted[32];
	uint8_t *start = mmap(NULL, bytes + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return error_set(error, ERROR_OUT_OF_MEMORY, "map %s of memory: %s",
				 strings_format_bytes(bytes, wanted, sizeof(wanted)), strerror(errno));
	uint64_t before = (HUGE_PAGE_BYTES - (uintptr_t)start % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
	if (before > 0)
		munmap(start, before);
	munmap(start + before + bytes, HUGE_PAGE_BYTES - before);
	*ret_memory = start + before;
	madvise(*ret_memory, bytes, MADV_HUGEPAGE); // without them it is only slower
#ifdef MADV_POPULATE_WRITE
	// A kernel before 5.14 does not know it: pages are then backed when they are touched.
	if (madvise(*ret_memory, bytes, MADV_POPULATE_WRITE) != 0 && errno == ENOMEM) {
		memory_unmap(*ret_memory, bytes);
		*ret_memory = NULL;
		return error_set(error, ERROR_OUT_OF_MEMORY, "map %s of memory: %s",
				 strings_format_bytes(bytes, wanted, sizeof(wanted)), strerror(ENOMEM));
	}
#endif
	return true;
}

void memory_unmap(uint8_t *memory, uint64_t bytes)
{
	if (memory != NULL)
		munmap(memory, bytes);
}

"""Job after job on the same daemons: nothing leaks."""

import harness


class ManyJobs(harness.TestCase):
    def test_memory_after_20_jobs_is_that_after_2(self):
        daemons = self.start_daemons(2)
        hostfile = self.hostfile(daemons)
        sizes = []
        for job in range(20):
            self.train("-H", hostfile, "--steps", 3, "--schedule", ("gpipe", "1f1b")[job % 2])
            for daemon in daemons:
                daemon.wait_until_free(5)
            sizes.append([daemon.resident_bytes() for daemon in daemons])
        for daemon in range(2):
            after_2, after_20 = sizes[1][daemon], sizes[-1][daemon]
            print(f"daemon {daemon}: {after_2 / 2**20:.1f} MiB after 2 jobs, {after_20 / 2**20:.1f} MiB after 20")
            self.assertLess(after_20, after_2 * 1.05)


if __name__ == "__main__":
    harness.main()

"""Job after job on the same daemons: nothing leaks."""

import time

import harness


class ManyJobs(harness.TestCase):
    def test_memory_after_20_jobs_is_that_after_2(self):
        daemons = self.start_daemons(2)
        hostfile = self.hostfile(daemons)
        for job in range(20):
            self.train("-H", hostfile, "--steps", 3, "--schedule", ("gpipe", "1f1b")[job % 2])
            for daemon in daemons:
                daemon.wait_until_free(5)
            if job == 1:
                time.sleep(2)  # a daemon gives memory back once a second
                after_2 = [daemon.resident_bytes() for daemon in daemons]
        time.sleep(2)
        for daemon, before in zip(daemons, after_2):
            after = daemon.resident_bytes()
            print(f"port {daemon.port}: {before / 2**20:.1f} MiB after 2 jobs, {after / 2**20:.1f} MiB after 20")
            self.assertLess(after, before * 1.05)


if __name__ == "__main__":
    harness.main()

"""The Docker images: built, graded in with the line that docker/README.md documents, searched.

Needs docker, and a daemon or the right to start one (docker/with-docker); without them the tests are
skipped, but never where CI=true.
"""

import gzip
import io
import json
import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "docker/README.md").read_text()
MANIFESTS = {path.parent.name: json.loads(path.read_text())
             for path in sorted((ROOT / "assignments").glob("*/lab.json"))}
MANIFEST = MANIFESTS["pipe"]
LABS = list(MANIFESTS)
HIDDEN_IDS = [t["id"] for manifest in MANIFESTS.values() for t in manifest["tests"]
              if t["visibility"] != "public"]
INSTALLED = "/usr/local/share/ipclab"
MOUNT_OUT = '-v "$PWD/out:/results"'

DOES_NOT_COMPILE = "int main(void) { return not_declared; }\n"

# Added to the reference: says with its exit status what no program of a submission may have.
REFUSES_ROOT = f"""
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void refuse_root(void)
{{
    if (getuid() == 0 || geteuid() == 0 || getgid() == 0 || getegid() == 0 || getgroups(0, 0) > 0)
        _exit(99);
    if (open("{INSTALLED}/suites/pipe-hidden", O_RDONLY) >= 0)
        _exit(98);
}}
"""

# Before it: what another lab is about; it goes on when that is refused.
CALLS_OF_OTHER_LABS = """#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
__attribute__((constructor)) static void call_them(void)
{
    if (shm_open("/x", O_RDWR | O_CREAT, 0600) >= 0 || sem_open("/x", O_CREAT, 0600, 1) != NULL ||
        mq_open("/x", O_RDWR | O_CREAT, 0600, NULL) >= 0 || socket(AF_INET, SOCK_STREAM, 0) >= 0)
        abort();
}
"""

daemon = None


def setUpModule():
    """Holds a daemon for all tests, and builds the images."""
    global daemon
    daemon = subprocess.Popen([str(ROOT / "docker/with-docker"), "sh", "-c", "echo ready; exec cat"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    if daemon.stdout.readline() != "ready\n":
        why = daemon.stderr.read().strip()
        release_daemon()
        if os.environ.get("CI") == "true":
            raise AssertionError(f"CI has to run these tests: {why}")
        raise unittest.SkipTest(why)
    unittest.addModuleCleanup(release_daemon)
    built = subprocess.run([str(ROOT / "docker/build-images")], text=True, errors="replace",
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if built.returncode != 0:
        raise AssertionError(f"docker/build-images: {built.stdout}")


def release_daemon():
    daemon.communicate()
    daemon.wait()


def documented_line():
    """The run line of docker/README.md, to be run by a shell where my-work is."""
    blocks = re.findall(r"```\w*\n(docker run .*? ipclab grade pipe /submission\n)```", README, re.S)
    if len(blocks) != 1:
        raise AssertionError(f"docker/README.md has {len(blocks)} run lines, not one")
    return blocks[0].rstrip("\n")


def schema(name):
    return json.loads((ROOT / "grader" / f"{name}.schema.json").read_text())


def validate(document, name):
    jsonschema.Draft202012Validator(schema(name)).validate(document)


def docker(*words, **options):
    return subprocess.run(["docker", *words], capture_output=True, check=False, **options)


class Grading(unittest.TestCase):
    """Each test has a folder with my-work in it, where the documented line is typed."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ipclab-docker-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.work = self.folder / "my-work"
        self.work.mkdir()

    def submit(self, text):
        (self.work / "pipeline.c").write_text(text)

    def submit_folder(self, folder):
        for file in (ROOT / folder).glob("*.[ch]"):
            shutil.copy(file, self.work)

    def type(self, line, more=""):
        return subprocess.run(["sh", "-c", f"{line} {more}"], cwd=self.folder, capture_output=True,
                              text=True, errors="replace", timeout=900, check=False)

    def grade(self, more="", line=None, status=0):
        """Grades; returns the whole result, from standard output."""
        done = self.type(line or documented_line(), f"--format json --full -q {more}")
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        result = json.loads(done.stdout)
        validate(result, "results")
        return result

    def assert_all_passed(self, result):
        bad = [r for r in result["runs"] if r["status"] != "passed"]
        self.assertEqual(bad, [])

    def test_reference_has_100_and_the_mounted_folder_has_the_same_result(self):
        self.submit_folder("reference/pipe")
        self.work.chmod(0o700)
        os.chown(self.work, 1000, 1000)  # a student's folder, closed to all others
        (self.folder / "out").mkdir()
        self.assertIn(MOUNT_OUT, README)
        result = self.grade(line=documented_line().replace(" ipclab grade",
                                                           f" {MOUNT_OUT} ipclab grade"))
        self.assert_all_passed(result)
        self.assertEqual((result["status"], result["score"], result["max"]), ("graded", 100, 100))
        self.assertTrue(result["official"], result["not_official"])
        self.assertEqual({r["test"] for r in result["runs"]}, {t["id"] for t in MANIFEST["tests"]})
        layers = {layer["layer"]: layer["active"] for layer in result["isolation"]}
        self.assertTrue(layers["own uid"], layers)

        inside = docker("image", "inspect", "--format", "{{json .Config.Env}}", "ipclab").stdout
        self.assertIn(f"IPCLAB_IMAGE_ID={result['hashes']['image']}", json.loads(inside))
        self.assertRegex(result["hashes"]["image"], r"^(commit:[0-9a-f]{40}|content:[0-9a-f]{64})$")

        written = self.folder / "out/results.json"
        self.assertEqual(json.loads(written.read_text()), result)
        self.assertEqual(written.stat().st_mode & 0o777, 0o600)
        feedback = (self.folder / "out/feedback.json").read_text()
        validate(json.loads(feedback), "feedback")
        for test in HIDDEN_IDS:
            self.assertNotIn(f'"{test}"', feedback)

    def test_the_reference_of_every_lab_has_100(self):
        # A container gives no namespaces: two slots share its /dev/shm and its queues.
        for lab in LABS:
            with self.subTest(lab=lab):
                shutil.rmtree(self.work)
                self.work.mkdir()
                self.submit_folder(f"reference/{lab}")
                result = self.grade(line=documented_line().replace(" grade pipe ", f" grade {lab} "))
                self.assert_all_passed(result)
                self.assertEqual((result["score"], result["max"]), (100, 100))
                self.assertTrue(result["official"], result["not_official"])

    def test_what_the_lab_excludes_is_told(self):
        # As root without the right to look into others' processes.
        reference = (ROOT / "reference/pipe/pipeline.c").read_text()
        self.submit(CALLS_OF_OTHER_LABS + reference)
        test = next(t["id"] for t in MANIFEST["tests"] if t["visibility"] == "public")
        result = self.grade(f"--test {test}")
        self.assert_all_passed(result)
        self.assertEqual({call["call"]: call["rule"] for call in result["refused_calls"]},
                         {"shm_open": "shared memory objects are not part of this lab",
                          "sem_open": "shared memory objects are not part of this lab",
                          "mq_open": "POSIX message queues are not part of this lab",
                          "socket(AF_INET)": "sockets are not part of this lab"})

    def test_starter_has_0(self):
        self.submit_folder("starter/pipe")
        result = self.grade()
        self.assertEqual((result["status"], result["score"], result["max"]), ("graded", 0, 100))
        self.assertEqual(self.type(documented_line(), "--min-score 1 -q").returncode, 1)

    def test_what_does_not_compile_has_0_and_its_errors(self):
        self.submit(DOES_NOT_COMPILE)
        result = self.grade()
        self.assertEqual((result["status"], result["score"]), ("build_failed", 0))
        self.assertIn("not_declared", result["build"]["log"])

    def test_refused_and_wrong_usage_have_their_statuses(self):
        self.assertEqual(self.grade(status=4)["status"], "rejected")  # my-work is empty
        self.assertEqual(self.type(documented_line(), "--no-such-option").returncode, 2)

    def test_programs_never_run_as_root(self):
        source = (ROOT / "reference/pipe/pipeline.c").read_text() + REFUSES_ROOT
        self.submit(source)
        self.assert_all_passed(self.grade("--public-only"))
        # The same program as root says so: what it looks at is there to be seen.
        as_root = docker("run", "--rm", "--network", "none", "-v", f"{self.work}:/submission:ro",
                         "--entrypoint", "sh", "ipclab", "-c",
                         "gcc -o /tmp/p /submission/pipeline.c && /tmp/p true")
        self.assertEqual(as_root.returncode, 99, as_root.stderr)

    def test_compiler_never_runs_as_root(self):
        # Landlock is left out: the uid alone has to keep the compiler from the manifest.
        line = documented_line().replace(" ipclab grade", " -e IPCLAB_LAYERS_OFF=landlock ipclab grade")
        secret = f"{INSTALLED}/assignments/pipe/lab.json"
        for attack in (f'#include "{secret}"\nint main(void) {{}}\n',
                       f'__asm__(".incbin \\"{secret}\\"");\nint main(void) {{}}\n'):
            self.submit(attack)
            result = self.grade(line=line)
            self.assertEqual(result["status"], "build_failed", result["build"])
            self.assertRegex(result["build"]["log"], "Permission denied|can't open|not found")
            for test in HIDDEN_IDS:
                self.assertNotIn(test, result["build"]["log"])

    def test_student_image_grades_the_public_tests_and_is_not_official(self):
        for lab in LABS:
            with self.subTest(lab=lab):
                shutil.rmtree(self.work)
                self.work.mkdir()
                self.submit_folder(f"reference/{lab}")
                result = self.grade(line=documented_line().replace(" ipclab grade pipe",
                                                                   f" ipclab-student grade {lab}"))
                self.assert_all_passed(result)
                self.assertFalse(result["official"])
                self.assertEqual({r["test"] for r in result["runs"]},
                                 {t["id"] for t in MANIFESTS[lab]["tests"]
                                  if t["visibility"] == "public"})

    def test_make_check_of_each_starter_takes_the_student_image(self):
        for lab in LABS:
            with self.subTest(lab=lab):
                shutil.rmtree(self.work)
                shutil.copytree(ROOT / "starter" / lab, self.work)
                self.submit_folder(f"reference/{lab}")
                test = next(t["id"] for t in MANIFESTS[lab]["tests"] if t["visibility"] == "public")
                checked = subprocess.run(["make", "-s", "check", f"TEST={test}", "IPCLAB=",
                                          "IPCLAB_IMAGE=ipclab-student"],
                                         cwd=self.work, capture_output=True, text=True, check=False)
                self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
                self.assertRegex(checked.stdout, r"score: (\d+) of \1 points")

    def test_doctor_finds_every_layer_in_force(self):
        done = self.type(documented_line().replace("grade pipe /submission", "doctor"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"yes +own uid")
        lacking = re.findall(r"(?m)^ +NO +(\S+(?: \S+)*)", done.stdout)
        self.assertEqual(lacking, ["own namespaces"], done.stdout)  # a container refuses them
        self.assertIn("chat ipv6", done.stdout)

    def test_without_ipv6_its_tests_are_not_measured(self):
        sysctl = " --sysctl net.ipv6.conf.all.disable_ipv6=0"
        self.assertIn(sysctl, documented_line())
        line = documented_line().replace(sysctl, "").replace(" grade pipe ", " grade chat ")
        self.submit_folder("reference/chat")
        tests = {"listen/ipv6": "not_measured", "client/ipv6": "not_measured",
                 "listen/port": "passed"}
        result = self.grade("".join(f" --test {test}" for test in tests), line=line)
        self.assertEqual({r["test"]: r["status"] for r in result["runs"]}, tests)
        self.assertEqual((result["score"], result["max"]), (1, 1))
        without = self.type(line.replace("grade chat /submission", "doctor"))
        self.assertRegex(without.stdout, r"(?m)^ +NO +chat ipv6")


class Images(unittest.TestCase):
    def readable(self, image, user):
        found = docker("run", "--rm", "--network", "none", "-u", user, "--entrypoint", "find", image,
                       INSTALLED, "-type", "f", "-readable", text=True)
        return {name[len(INSTALLED) + 1:] for name in found.stdout.split()}

    def test_secrets_of_the_grader_image_are_for_root_alone(self):
        of_root, of_slot = self.readable("ipclab", "0:0"), self.readable("ipclab", "60000:60000")
        secrets = set()
        for lab in LABS:
            secrets |= {f"assignments/{lab}/lab.json", f"suites/{lab}-hidden"}
        self.assertEqual(of_root - of_slot, secrets)
        self.assertIn("suites/pipe-public", of_slot)
        for secret in secrets:
            read = docker("run", "--rm", "--network", "none", "-u", "60000:60000", "--entrypoint",
                          "cat", "ipclab", f"{INSTALLED}/{secret}", text=True)
            self.assertEqual((read.returncode, read.stdout), (1, ""))
            self.assertIn("Permission denied", read.stderr)

    def test_no_layer_holds_what_students_must_not_have(self):
        hidden = set(HIDDEN_IDS) | {test.replace("/", "_") for test in HIDDEN_IDS}
        hidden |= {f"{lab}-hidden" for lab in LABS}
        reference = reference_lines()
        self.assertGreater(len(reference), 30)
        with tempfile.NamedTemporaryFile("w") as needles:
            needles.write("\n".join(sorted(hidden | reference)) + "\n")
            needles.flush()
            files = b"".join(file.read_bytes() for file in reference_files())
            with io.BytesIO(files) as file:  # the search finds them
                self.assertEqual(search(file, needles.name) & reference, reference)
            found = search_images(["ipclab", "ipclab-student"], needles.name)
        self.assertEqual(found["ipclab-student"], set())
        self.assertEqual(found["ipclab"] & reference, set())
        # In the grader's image each hidden test is found by the same search.
        self.assertEqual(found["ipclab"], hidden)


def reference_files():
    return [file for lab in LABS for file in sorted((ROOT / "reference" / lab).glob("*.[ch]"))]


def reference_lines():
    """Lines of the references that say something and stand in no file that students have."""
    given = ""
    for folder in ("starter", "assignments", "grader"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".c", ".h", ".md"):
                given += file.read_text()
    lines = set()
    for file in reference_files():
        lines |= {line.strip() for line in file.read_text().splitlines()}
    return {line for line in lines if len(line) >= 32 and line not in given}


def search(stream, needles):
    """The set of the needles, whole words, that are in a stream."""
    with tempfile.TemporaryFile() as output:
        grep = subprocess.Popen(["grep", "-aowF", "-f", needles], stdin=subprocess.PIPE,
                                stdout=output, env={**os.environ, "LC_ALL": "C"})
        with grep.stdin:
            shutil.copyfileobj(stream, grep.stdin, 1 << 20)
        if grep.wait() > 1:
            raise AssertionError("grep failed")
        output.seek(0)
        return {line.decode() for line in output.read().splitlines()}


def search_images(images, needles):
    """What of the needles is in the layers (names and contents) and the configuration of each."""
    found, links, manifest = {}, {}, None
    save = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
    with save.stdout, tarfile.open(fileobj=save.stdout, mode="r|") as archive:
        for member in archive:
            if member.issym():  # a layer that was saved before
                links[member.name] = posixpath.normpath(
                    posixpath.join(posixpath.dirname(member.name), member.linkname))
            elif member.name == "manifest.json":
                manifest = json.load(archive.extractfile(member))
            elif member.isfile():
                content = io.BufferedReader(archive.extractfile(member), 1 << 20)
                start = content.peek(4)[:4]
                if start == b"\x28\xb5\x2f\xfd":
                    raise AssertionError(f"{member.name} is compressed with zstd: not searched")
                if start[:2] == b"\x1f\x8b":
                    content = gzip.GzipFile(fileobj=content)
                found[member.name] = search(content, needles)
    if save.wait() != 0 or len(manifest) != len(images):
        raise AssertionError("docker save failed")
    result = {}
    for entry in manifest:
        names = [entry["Config"], *entry["Layers"]]
        image = entry["RepoTags"][0].split(":")[0]
        result[image] = set().union(*(found[links.get(name, name)] for name in names))
    return result


if __name__ == "__main__":
    unittest.main()

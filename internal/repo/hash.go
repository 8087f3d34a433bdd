package repo

import (
	"crypto/sha1"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"
)

// blobHash computes a blob's id from its bytes.
type blobHash struct{ hash.Hash }

func newBlobHash(size int64) blobHash {
	h := blobHash{sha1.New()}
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

func (b blobHash) id() (h plumbing.Hash) {
	b.Sum(h[:0])
	return h
}

// fileState is what stands at a path of the work tree.
type fileState struct {
	st   unix.Stat_t
	mode uint32 // git's mode; 0: nothing; modeFolder: a folder; modeOther: a socket, a device...
}

const modeOther = 1

// look is lstat in git's terms.
func look(path string) (fileState, error) {
	var s fileState
	if err := unix.Lstat(path, &s.st); err != nil {
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return s, nil
		}
		return s, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	s.mode = modeOf(&s.st)
	return s, nil
}

func modeOf(st *unix.Stat_t) uint32 {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Mode&0o100 != 0 {
			return modeExec
		}
		return modeFile
	case unix.S_IFLNK:
		return modeLink
	case unix.S_IFDIR:
		return modeFolder
	default:
		return modeOther
	}
}

// contentIs tells whether the file or link at path holds the blob.
func contentIs(path string, s fileState, blob plumbing.Hash) (bool, error) {
	if s.mode == modeLink {
		target, err := os.Readlink(path)
		if err != nil {
			return false, err
		}
		return hashObject("blob", []byte(target)) == blob, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := newBlobHash(s.st.Size)
	if _, err := io.Copy(sum, f); err != nil {
		return false, err
	}
	return sum.id() == blob, nil
}

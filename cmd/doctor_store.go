package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/peers"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// examineStore looks at the store that the settings name, and at the data directory.
func (a *app) examineStore(ctx context.Context) []finding {
	at := a.place()
	if at.Embedded() {
		return []finding{a.examineData()}
	}
	return []finding{a.examineBeside(), a.examineAddress(ctx, at), a.examineAddressSecret()}
}

// examineData opens the data directory, if there is one: that is what finds out whether it can be used.
func (a *app) examineData() finding {
	const check = "data directory"
	data := a.config.get("data")
	store := filepath.Join(data, stores.StoreName)
	if _, err := os.Stat(store); errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return examineNew(check, data)
	}
	opened, err := embedded.Open(embedded.Config{Dir: store})
	var held *embedded.HeldError
	var half *storage.HalfError
	switch {
	case errors.As(err, &held):
		where, err := readServing(data)
		if err == nil && where.PID == held.PID {
			return finding{Check: check, OK: true, Detail: fmt.Sprintf("%s is held by life serve, process %d", data, held.PID)}
		}
		return wrong(check, fmt.Sprintf("%s is held by process %d, which serves no API", data, held.PID), fmt.Sprintf("wait until it exits, or stop it: kill %d", held.PID))
	case errors.As(err, &half):
		return wrong(check, fmt.Sprintf("%s holds half %s", data, half.What), half.Finish)
	case err != nil:
		return wrong(check, err.Error(), "make the directory readable and writable for this user, or restore it from a backup")
	}
	_, full := opened.Append(context.Background(), events.AgentStream("doctor"), storage.ExpectAny, nil) // an empty one only checks
	problem := writableBlobs(data)
	if err := opened.Close(); err != nil {
		return wrong(check, err.Error(), "check the disk's health")
	}
	if full != nil {
		return wrong(check, full.Error(), "until then it can be read: life agents, life history, life verify and life store export work")
	}
	if problem != nil {
		return wrong(check, problem.Error(), "make the directory readable and writable for this user, or restore it from a backup")
	}
	return finding{Check: check, OK: true, Detail: data + " is usable"}
}

// examineNew is about a data directory that has nothing in it yet.
func examineNew(check, data string) finding {
	parent := existing(data)
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		return wrong(check, fmt.Sprintf("%s cannot be used: %s is not a directory", data, parent), "choose another one with --data or LIFE_DATA, or move that file away")
	}
	if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
		return wrong(check, fmt.Sprintf("%s cannot be created: %s: %v", data, parent, err), "create it, or choose another one with --data or LIFE_DATA")
	}
	return finding{Check: check, OK: true, Detail: data + " will be created when it is first needed"}
}

// examineBeside is about a data directory that holds what is not in the store: blobs, above all.
func (a *app) examineBeside() finding {
	const check = "data directory"
	data := a.config.get("data")
	if _, err := os.Stat(filepath.Join(data, stores.BlobsName)); err != nil {
		return examineNew(check, data)
	}
	if err := writableBlobs(data); err != nil {
		return wrong(check, err.Error(), "make the directory readable and writable for this user")
	}
	return finding{Check: check, OK: true, Detail: data + " is usable, for blobs: hosts on other machines that use the same store need the same blobs"}
}

// writableBlobs opens the blobs of a data directory, and says what is in the way of more.
func writableBlobs(data string) error {
	dir := filepath.Join(data, stores.BlobsName)
	if _, err := blobs.Open(dir); err != nil {
		return err
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// doctorTime is what life doctor gives EventStoreDB to answer, and then to be read and written to.
const doctorTime = 5 * time.Second

// examineAddress asks the EventStoreDB what verbs need of it. It writes nothing.
func (a *app) examineAddress(ctx context.Context, at stores.Location) finding {
	const check = "store"
	at.Patience, at.Say = doctorTime, nil
	store, err := at.Connect(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return storeTrouble(check, "", err)
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	found := examineOpen(ctx, check, at, store)
	if err := store.Close(); err != nil {
		return wrong(check, err.Error(), "")
	}
	return found
}

func examineOpen(ctx context.Context, check string, at stores.Location, store storage.Journal) finding {
	page, err := store.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{}, storage.Limit{Events: 1})
	if err != nil {
		return storeTrouble(check, fmt.Sprintf("%s cannot be read: ", at), err)
	}
	switch half, err := stores.HalfCopied(ctx, store); {
	case err != nil:
		return storeTrouble(check, fmt.Sprintf("%s cannot be read: ", at), err)
	case half != "":
		return wrong(check, fmt.Sprintf("%s holds half a copy", at), half)
	}
	// An empty append only checks that this user may append.
	if _, err := store.Append(ctx, events.AgentStream("doctor"), storage.ExpectAny, nil); err != nil {
		return storeTrouble(check, fmt.Sprintf("%s cannot be written to: ", at), err)
	}
	detail := fmt.Sprintf("%s responds, and can be read and written", at)
	if len(page.Events) > 0 {
		detail += ", newest event of " + clock(page.Events[0].Time)
	}
	return finding{Check: check, OK: true, Detail: detail}
}

// storeTrouble is an error of an EventStoreDB, with what helps against its kind.
func storeTrouble(check, what string, err error) finding {
	var mistake *eventstore.AddressError
	var away *eventstore.AwayError
	switch {
	case errors.As(err, &mistake):
		return wrong(check, what+mistake.Problem, mistake.Remedy+" (the settings store and store_credentials_file)")
	case errors.As(err, &away):
		return wrong(check, what+away.Problem(), away.Remedy()+" (the setting store)")
	}
	return wrong(check, what+err.Error(), "correct the setting store; an address looks like esdb://127.0.0.1:2113, with ?tls=false if the server has no TLS")
}

// examineAddressSecret is about files with passwords that others can read.
func (a *app) examineAddressSecret() finding {
	const check = "credentials"
	store, path := a.config.find("store"), a.config.get("store-credentials-file")
	_, rest, _ := strings.Cut(store.value, "://")
	switch {
	case path == "" && stores.UserEnd(rest) == 0:
		return finding{Check: check, OK: true, Detail: "none: requests to the store carry no user"}
	case path == "" && !strings.HasPrefix(store.source, a.config.file+",") || a.config.file == "" && path == "":
		return finding{Check: check, OK: true, Detail: "in the environment"}
	case path == "":
		path = a.config.file
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return wrong(check, err.Error(), "write user:password into it")
	case info.Mode().Perm()&0o077 != 0:
		return finding{Check: check, Detail: fmt.Sprintf("%s can be read by others (%s)", path, info.Mode().Perm()), Remedy: "chmod 600 " + quote(path)}
	}
	return finding{Check: check, OK: true, Detail: "in " + path}
}

const expiresSoon = 30 * 24 * time.Hour

// examineCluster is about the cluster that the settings name, and what this host needs to join it.
func (a *app) examineCluster(ctx context.Context) []finding {
	const check = "cluster"
	if a.config.get("cluster") == "" {
		return nil
	}
	var findings []finding
	joins, err := a.config.cluster(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil && (a.config.get("peer") != "" || a.config.get("peer-certs") != "") {
		findings = append(findings, wrong(check, err.Error(), "life serve would refuse to start: correct the setting"))
	}
	if err != nil {
		joins = nil // only verbs are told of the cluster, or life serve would not start
	}
	ctx, cancel := context.WithTimeout(ctx, 5*healthTime)
	defer cancel()
	err = a.sharedCluster(ctx, func(_ stores.Journal, view *cluster.View) error {
		findings = append(findings, a.examineMembers(ctx, view, joins)...)
		return nil
	})
	var coded *codedError
	switch {
	case errors.As(err, &coded) && coded.code == "not_found":
		findings = append(findings, finding{Check: check, Detail: err.Error(), Remedy: "life serve --cluster NAME makes it"})
	case err != nil:
		findings = append(findings, wrong(check, err.Error(), "name the store with --store, and start it"))
	}
	return findings
}

func (a *app) examineMembers(ctx context.Context, view *cluster.View, joins *stores.Cluster) []finding {
	about := finding{Check: "cluster", OK: true, Detail: fmt.Sprintf("%s has %d hosts, epoch %d", view.Name, len(view.Members), view.Epoch)}
	if view.Mixed() {
		about.OK, about.Detail, about.Remedy = false, about.Detail+"; they are of different builds", "finish the upgrade: life cluster shows the builds"
	}
	findings := []finding{about}
	if joins == nil {
		return append(findings, finding{Check: "peers", Detail: "not asked, without a certificate", Remedy: "the settings peer and peer_certs are those of life serve on this machine"})
	}
	if err := view.Compatible(joins.Says(a.build.Version), joins.Older); err != nil {
		findings = append(findings, wrong("versions", err.Error(), ""))
	} else {
		findings = append(findings, finding{Check: "versions", OK: true, Detail: "this build, " + a.build.Version + ", can join"})
	}
	identity, err := peers.LoadIdentity(joins.Certificates, joins.Joined.Name, time.Now(), a.log)
	if err != nil {
		return append(findings, wrong("certificate", err.Error(), "life serve would refuse to start; docs/cluster.md says how certificates are made and renewed"))
	}
	findings = append(findings, examineExpiry(identity.Expires(), joins.Joined.Name, joins.Certificates, time.Now()))
	client := peers.NewClient(peers.ClientConfig{Identity: identity, Self: func() events.HostID { return "" }})
	defer client.Close()
	probed := false
	for _, member := range view.Sorted() {
		found, answers := examinePeer(ctx, client, member)
		findings = append(findings, found)
		if answers && !probed && member.Joined.Name != joins.Joined.Name {
			probed = true
			findings = append(findings, a.examineBlobs(ctx, client, member))
		}
	}
	return findings
}

// examineExpiry is about how long the certificates of a host, in a directory, are valid.
func examineExpiry(expires peers.Expiry, host, dir string, now time.Time) finding {
	const check = "certificate"
	soon := now.Add(expiresSoon)
	switch {
	case expires.Authority.Before(soon):
		return finding{
			Check: check, Detail: fmt.Sprintf("the authority's expires on %s", expires.Authority.Format(time.DateOnly)),
			Remedy: "make a new authority in another directory, and new certificates for all hosts; docs/cluster.md says in which order they are replaced",
		}
	case expires.Host.Before(soon):
		return finding{
			Check: check, Detail: fmt.Sprintf("that of host %s expires on %s", host, expires.Host.Format(time.DateOnly)),
			Remedy: fmt.Sprintf("remove it and its key, and make another: life cluster certificates %s --host %s", quote(dir), host),
		}
	}
	return finding{Check: check, OK: true, Detail: fmt.Sprintf("host %s, until %s", host, expires.Host.Format(time.DateOnly))}
}

// examinePeer asks a member what every ping asks.
func examinePeer(ctx context.Context, client *peers.Client, member cluster.Member) (found finding, answers bool) {
	check := "peer " + string(member.ID)
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	began := time.Now()
	pong, err := client.Ping(ctx, member, membership.Ping{Epoch: events.NoRevision})
	took := time.Since(began)
	switch {
	case errors.Is(err, membership.ErrUntrusted):
		return wrong(check, err.Error(), "all hosts need certificates of one authority: compare ca.pem on both"), false
	case errors.Is(err, membership.ErrRefused):
		return wrong(check, err.Error(), "it has ended, and another host removes it within a second; if none runs, start one"), false
	case err != nil:
		return wrong(check, err.Error(), "let this machine connect to "+member.Joined.Peer+", or have the host say another address: life serve --peer"), false
	case pong.Host != member.ID:
		return wrong(check, fmt.Sprintf("host %s answers at %s", pong.Host, member.Joined.Peer), "wait a second: the one that had ended is removed"), true
	}
	skew := pong.Wall - events.Micros(began.UnixMicro()) - events.Micros(took.Microseconds())/2
	return examineSkew(check, fmt.Sprintf("answers in %s at %s", took.Round(time.Millisecond), member.Joined.Peer), skew), true
}

// examineSkew is about how much the clock of a peer that answers differs.
func examineSkew(check, answers string, skew events.Micros) finding {
	length := func(of events.Micros) time.Duration { return time.Duration(of) * time.Microsecond }
	detail := fmt.Sprintf("%s; its clock differs by %s", answers, length(skew).Round(time.Millisecond))
	const remedy = "set both clocks by NTP"
	switch differs := max(skew, -skew); {
	case differs > membership.SkewRefused:
		return wrong(check, fmt.Sprintf("%s, and a join is refused beyond %s", detail, length(membership.SkewRefused)), remedy)
	case differs > membership.SkewWarned:
		return finding{Check: check, Detail: detail, Remedy: remedy}
	}
	return finding{Check: check, OK: true, Detail: detail}
}

// examineBlobs looks in the data directory for a blob that a member has just stored.
func (a *app) examineBlobs(ctx context.Context, client *peers.Client, member cluster.Member) finding {
	const check = "blobs"
	dir := filepath.Join(a.config.get("data"), stores.BlobsName)
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	blob, err := client.Probe(ctx, member)
	if err != nil {
		return wrong(check, fmt.Sprintf("host %s could not store one: %v", member.ID, err), "free some space there, or mount "+stores.BlobsName+" writable")
	}
	store, err := blobs.Open(dir)
	if err != nil {
		return wrong(check, err.Error(), "")
	}
	for {
		content, err := store.Open(ctx, blob)
		if err == nil {
			return finding{Check: check, OK: content.Close() == nil, Detail: fmt.Sprintf("%s is shared with host %s", dir, member.ID)}
		}
		select {
		case <-time.After(50 * time.Millisecond): // shared file systems show files late
		case <-ctx.Done():
			return wrong(check, fmt.Sprintf("what host %s has just stored is not in %s", member.ID, dir), "mount the same directory there on all hosts of the cluster")
		}
	}
}

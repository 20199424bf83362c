package actors

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// plain is the behavior of an entity that only answers.
type plain struct{ onLoad func() }

func (p plain) before(sagas.Command) {}
func (p plain) loaded()              { p.onLoad() }
func (plain) begun()                 {}
func (plain) stored()                {}
func (plain) receive(any)            {}
func (plain) busy() bool             { return false }
func (plain) mayLeave() bool         { return true }
func (plain) letGo() bool            { return false }
func (plain) hurried()               {}
func (plain) stays()                 {}
func (plain) stop()                  {}

func (plain) unfit(context.Context) (string, error) { return "", nil }

func walletType() entityType {
	return entityType{
		stream: func(id string) events.Stream { return events.WalletStream(events.WalletID(id)) },
		produce: func(r *registry, self *actor.PID, h *handle) actor.Actor {
			w := &actorShell[sagas.Wallet]{handle: h, registry: self}
			w.entity = entity[sagas.Wallet]{stream: r.entityType.stream(h.id), fold: history.WalletFold(), host: r.host}
			w.behavior = plain{func() { openDefault(w) }}
			return w
		},
	}
}

// openDefault opens the wallet "main" with the host's opening credit when it is first needed. Others are opened by command.
func openDefault(w *actorShell[sagas.Wallet]) {
	id := events.WalletID(w.handle.id)
	if w.saga.ID != "" || id != sagas.DefaultWallet {
		return
	}
	w.instruct(&instruction{
		command: sagas.OpenWallet{Meta: sagas.Meta{ID: sagas.InternalPrefix + "open", At: storage.Now()}, Wallet: id, Credit: w.host.credit},
		origin:  w.host.origin,
	})
}

func homeostasisType() entityType {
	return entityType{
		stream: func(id string) events.Stream { return events.HomeostasisStream(events.TenantID(id)) },
		produce: func(r *registry, self *actor.PID, h *handle) actor.Actor {
			l := &actorShell[sagas.Homeostasis]{handle: h, registry: self}
			l.entity = entity[sagas.Homeostasis]{stream: r.entityType.stream(h.id), fold: history.HomeostasisFold(), host: r.host}
			l.behavior = plain{func() {}}
			return l
		},
	}
}

func catalogueType() entityType {
	return entityType{
		stream: func(id string) events.Stream { return events.ProjectionsStream(events.TenantID(id)) },
		produce: func(r *registry, self *actor.PID, h *handle) actor.Actor {
			l := &actorShell[sagas.Catalogue]{handle: h, registry: self}
			l.entity = entity[sagas.Catalogue]{stream: r.entityType.stream(h.id), fold: history.CatalogueFold(), host: r.host}
			l.behavior = plain{func() {}}
			return l
		},
	}
}

package world

import (
	"errors"
	"fmt"

	"example.com/life/events"
	"example.com/life/sagas"
)

// purse is a wallet and whoever looks after it.
type purse struct {
	entity[sagas.Wallet]
	world *World
	due   bool // somebody is about to credit it
}

// openWallets opens a wallet for each hundred agents, and "main".
func (w *World) openWallets() {
	for i := range 1 + (w.config.Agents+99)/100 {
		name := events.WalletID("main")
		if i > 0 {
			name = events.WalletID(fmt.Sprintf("team-%d", i))
		}
		p := &purse{entity: entity[sagas.Wallet]{chain: newChain(events.WalletStream(name)), saga: sagas.NewWallet()}, world: w}
		w.wallets = append(w.wallets, p)
		p.decide(sagas.OpenWallet{Meta: w.inside("open"), Wallet: name, Credit: p.allowance()}, origin{actor: host})
	}
}

// allowance is a credit: of about a month, and sometimes less.
func (p *purse) allowance() events.Money {
	turns := p.world.config.Events / eventsPerTurn / int64(p.world.config.Agents) * min(int64(p.world.config.Agents), 100)
	return events.Money(p.world.random.between(2, 9)+int(turns)/200) * events.Dollar
}

func (p *purse) decide(command sagas.Command, from origin) events.Event {
	if from.correlation == "" {
		from.correlation = string(command.Metadata().ID)
	}
	decided, err := decide(p.world, &p.entity, command, from)
	var known *sagas.DuplicateError
	switch {
	case errors.As(err, &known):
		return known.Event
	case err != nil:
		if unexpected(err) {
			p.world.fail(err)
		}
		return nil
	}
	return decided[0]
}

// refill has somebody credit the wallet in a while.
func (p *purse) refill() {
	if p.due {
		return
	}
	p.due = true
	p.world.outside(p.world.random.time(10*events.Minute, 2*hour), func() {
		p.due = false
		meta, from := p.world.person(pick(&p.world.random, people))
		memo := fmt.Sprintf("invoice %d", p.world.random.between(1000, 9999))
		p.decide(sagas.Credit{Meta: meta, Amount: p.allowance(), By: from.actor, Memo: memo}, from)
	})
}

// adoptRules gives two of three tenants rules of their own, and one of them others later.
func (w *World) adoptRules() {
	for _, name := range tenants {
		w.tenants[name] = &entity[sagas.Homeostasis]{chain: newChain(events.HomeostasisStream(name)), saga: sagas.NewHomeostasis()}
	}
	adopt := func(tenant events.TenantID, rules []events.Rule) {
		meta, from := w.person("ann")
		if _, err := decide(w, w.tenants[tenant], sagas.Adopt{Meta: meta, Rules: rules, By: from.actor}, from); err != nil {
			w.fail(err)
		}
	}
	adopt("ops", sagas.DefaultRules())
	strict := 3.0
	careful := append([]events.Rule{{Name: "few errors allowed", Measure: "errors_left", AtMost: &strict, Mode: events.ModeAskHuman}}, sagas.DefaultRules()...)
	adopt("lab", careful)
	w.after(w.config.Span/3, func() { adopt("lab", careful[:4]) })
}

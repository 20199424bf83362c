package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

func walletCommand(a *app) *cobra.Command {
	return group("wallet", "Show, open and credit wallets, from which agents spend",
		"  life wallet show\n  life wallet credit main 5",
		walletShowCommand(a), walletOpenCommand(a), walletCreditCommand(a))
}

func walletShowCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "show [WALLET]",
		Short:   "Show a wallet's balance and reservations",
		Example: "  life wallet show\n  life wallet show team --json",
		Args:    takes(0, 1, "at most one wallet"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := walletArgument(args)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				wallet, err := host.Wallet(cmd.Context(), id)
				if err != nil {
					return err
				}
				return a.printWallet(&wallet, asJSON)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) printWallet(wallet *sagas.Wallet, asJSON bool) error {
	view := api.NewWallet(*wallet)
	if asJSON {
		return a.printJSON(view)
	}
	w := table(a.out)
	fmt.Fprintf(w, "wallet\t%s\nbalance\t%s\nheld\t%s, for %d turns\navailable\t%s\n", view.ID, view.Balance, view.Held, len(view.Holds), view.Available)
	fmt.Fprintf(w, "spent\t%s of %s since the latest credit\n", view.Budget-view.Balance, view.Budget)
	return w.Flush()
}

func walletArgument(args []string) (events.WalletID, error) {
	id := sagas.DefaultWallet
	if len(args) > 0 {
		id = events.WalletID(args[0])
	}
	if err := id.Validate(); err != nil {
		return "", &exit{exitUsage, err}
	}
	return id, nil
}

func walletOpenCommand(a *app) *cobra.Command {
	var id idFlags
	credit := ""
	cmd := &cobra.Command{
		Use:     "open WALLET",
		Short:   "Open a wallet",
		Long:    "Open a wallet. The wallet main is opened automatically when it is first needed.",
		Example: "  life wallet open team --with 25",
		Args:    takes(1, 1, "the name of one wallet"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wallet, err := walletArgument(args)
			if err != nil {
				return err
			}
			amount, err := events.ParseMoney(credit)
			if err != nil {
				return usage("--with: %w", err)
			}
			return a.with(cmd.Context(), func(host reached) error {
				return a.do(cmd, host, events.WalletStream(wallet), sagas.OpenWallet{Meta: newMeta(id.id), Wallet: wallet, Credit: amount}, id)
			})
		},
	}
	cmd.Flags().StringVar(&credit, "with", "0", "opening balance in dollars")
	id.add(cmd)
	return cmd
}

func walletCreditCommand(a *app) *cobra.Command {
	var id idFlags
	memo := ""
	cmd := &cobra.Command{
		Use:     "credit WALLET DOLLARS",
		Short:   "Add money to a wallet",
		Example: "  life wallet credit main 5 --memo \"for June\"",
		Args:    takes(2, 2, "a wallet and an amount in dollars"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wallet, err := walletArgument(args)
			if err != nil {
				return err
			}
			amount, err := events.ParseMoney(args[1])
			if err != nil {
				return &exit{exitUsage, err}
			}
			return a.with(cmd.Context(), func(host reached) error {
				return a.do(cmd, host, events.WalletStream(wallet), sagas.Credit{Meta: newMeta(id.id), Amount: amount, By: a.person(), Memo: memo}, id)
			})
		},
	}
	cmd.Flags().StringVar(&memo, "memo", "", "what it is for")
	id.add(cmd)
	return cmd
}
